//! The oracle on WGPU gives what it gives on the CPU, gradients too. Needs an adapter; Mesa's
//! software driver will do.

use aki_model::attention::{AttentionLayout, Document, Policy, mma_attention};
use burn::tensor::{Device, DeviceKind, DeviceType, Tensor, TensorData};

/// The output and the gradients of q, k and v.
fn results(device: Device) -> Vec<f32> {
    let device = device.autodiff();
    let wave = |heads: usize, phase: f32| {
        let values: Vec<f32> = (0..heads * 18)
            .map(|i| (i as f32 * 0.7 + phase).sin())
            .collect();
        Tensor::<4>::from_data(TensorData::new(values, [1, heads, 6, 3]), &device).require_grad()
    };
    let (q, k, v) = (wave(2, 0.1), wave(1, 0.5), wave(1, 0.9));
    let document = Document {
        tokens: 0..5,
        media: vec![1..3],
        question_end: Some(4),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, 6, &[vec![document]]).unwrap();
    let y = mma_attention(q.clone(), k.clone(), v.clone(), &layout);
    let grads = y.clone().powi_scalar(2).sum().backward();
    let mut values: Vec<f32> = y.into_data().try_to_vec().unwrap();
    for x in [q, k, v] {
        let grad = x.grad(&grads).unwrap();
        values.extend::<Vec<f32>>(grad.into_data().try_to_vec().unwrap());
    }
    values
}

#[test]
fn wgpu_and_cpu_agree() {
    if Device::enumerate(DeviceType::Wgpu).into_vec().is_empty() {
        eprintln!("skipped: no WGPU adapter; install a Vulkan driver such as mesa-vulkan-drivers");
        return;
    }
    let cpu = results(Device::flex());
    let wgpu = results(Device::wgpu(DeviceKind::DefaultDevice));
    assert_eq!(cpu.len(), wgpu.len());
    for (at, (cpu, wgpu)) in cpu.iter().zip(&wgpu).enumerate() {
        assert!(
            (cpu - wgpu).abs() < 1e-5,
            "{at}: {cpu} on the CPU, {wgpu} on WGPU"
        );
    }
}
