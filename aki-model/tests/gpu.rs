//! The kernels for GPUs against dense attention on the CPU, output and gradients, through WGPU.
//! Mesa's software driver will do; without any adapter the tests are skipped.
//!
//! The truth is the oracle in f64 of the same, rounded inputs.

use std::sync::OnceLock;

mod cases;

use aki_model::attention::{
    AttentionLayout, AttentionOps, Document, Engine, Kernels, Policy, mma_attention_with, reference,
};
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::IntTensor;
use burn::backend::{Autodiff, AutodiffBackend, DispatchDevice};
use burn::tensor::{Device, DeviceKind, DeviceType, FloatDType, Shape, Slice, Tensor, TensorData};
use burn_cubecl::ops::into_data_sync;
use burn_cubecl::{CubeBackend, CubeDevice};
use cases::{Case, assert_as_good, naive};

/// Whether the NVIDIA card is asked for, in a build that has it.
fn on_cuda() -> bool {
    let asked = std::env::var("AKI_TEST_DEVICE").as_deref() == Ok("cuda");
    assert!(
        !asked || cfg!(feature = "cuda"),
        "this build lacks the feature cuda"
    );
    asked
}

/// The device to test on, or `None` after having said that there is none: the NVIDIA card that
/// `AKI_TEST_DEVICE=cuda` asks for in a build with the feature `cuda`, else a WGPU adapter.
fn gpu() -> Option<Device> {
    #[cfg(feature = "cuda")]
    if on_cuda() {
        return Some(Device::cuda(0));
    }
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        let found = !Device::enumerate(DeviceType::Wgpu).into_vec().is_empty();
        if !found {
            eprintln!(
                "skipped: no WGPU adapter; install a Vulkan driver such as mesa-vulkan-drivers"
            );
        }
        found
    });
    found.then(|| Device::wgpu(DeviceKind::DefaultDevice))
}

/// Two rows: two packed documents with pictures and then padding, and one plain document.
fn packed(policy: Policy, len: usize) -> AttentionLayout {
    let middle = len * 2 / 3;
    let first = Document {
        tokens: 0..middle,
        media: vec![1..5, len / 4..len / 4 + 16],
        question_end: Some(middle - 2),
    };
    let second = Document {
        tokens: middle..len - len / 16,
        media: vec![middle + 1..middle + 2],
        question_end: Some(middle + 4),
    };
    let plain = Document {
        tokens: 0..len,
        media: vec![],
        question_end: Some(len / 2),
    };
    AttentionLayout::from_spans(policy, len, &[vec![first, second], vec![plain]]).unwrap()
}

/// One document of `len` tokens that begins with a picture.
fn single(policy: Policy, len: usize, media: usize) -> AttentionLayout {
    let document = Document {
        tokens: 0..len,
        media: vec![0..media],
        question_end: Some(len * 3 / 4),
    };
    AttentionLayout::from_spans(policy, len, &[vec![document]]).unwrap()
}

fn plain(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, layout: &AttentionLayout) -> Tensor<4> {
    mma_attention_with(Engine::Fused(Kernels::Plain), q, k, v, layout)
}

fn check(name: &str, dtype: FloatDType, case: &Case, kernels: Kernels) {
    let Some(device) = gpu() else { return };
    let cpu = Device::flex();
    let truth = case.run(&cpu, dtype, FloatDType::F64, reference::attention);
    let dense = case.run(&cpu, dtype, dtype, naive);
    let engine = Engine::Fused(kernels);
    let found = case.run(&device, dtype, dtype, |q, k, v, layout| {
        mma_attention_with(engine, q, k, v, layout)
    });
    let what = format!("{name} {dtype:?} {kernels:?}");
    assert_as_good(&what, &found, &dense, &truth, dtype);
}

macro_rules! cases {
    ($($name:ident: [$head_dim:expr, $heads:expr, $kv_heads:expr], $layout:expr, [$($dtype:ident),+];)+) => {
        $(#[test]
        fn $name() {
            let case = Case::new($layout, $heads, $heads / $kv_heads, $head_dim, 7);
            for dtype in [$(FloatDType::$dtype),+] {
                check(stringify!($name), dtype, &case, Kernels::Plain);
            }
        })+
    };
}

cases! {
    one_token: [16, 2, 1], single(Policy::Causal, 1, 1), [F32];
    three_tokens: [80, 4, 2], single(Policy::Prefix, 3, 1), [F32];
    packed_documents: [59, 4, 2], packed(Policy::Mma, 97), [F32, F16];
    packed_causal: [64, 8, 1], packed(Policy::Causal, 200), [F32, F16];
    packed_rings: [22, 2, 2], packed(Policy::Cca, 97), [F32];
    wide_head: [111, 2, 1], packed(Policy::Bidirectional, 97), [F32, F16];
    widest_head: [256, 2, 2], packed(Policy::Mma, 97), [F32, F16];
    vision_tower: [72, 2, 2], AttentionLayout::everything(2, 97, 97), [F32, F16];
    resampler: [96, 2, 2], AttentionLayout::everything(1, 64, 161), [F32];
    picture_and_question: [96, 2, 2], single(Policy::Mma, 656, 144), [F32];
    chunk_of_a_prompt: [128, 2, 1], packed(Policy::Prefix, 200).queries(64..200), [F32, F16];
    decoded_token: [64, 8, 1], packed(Policy::Mma, 200).queries(150..151), [F32];
}

/// What `Auto` comes down to where there are no tensor cores, with the tile that was fastest.
#[test]
fn plain_kernels_with_a_tuned_tile() {
    let case = Case::new(packed(Policy::Mma, 97), 8, 8, 64, 1);
    check("tuned", FloatDType::F32, &case, Kernels::Auto);
}

fn tensor_cores(head_dim: usize) {
    if !on_cuda() {
        eprintln!("skipped: the kernels for tensor cores need an NVIDIA card");
        return;
    }
    for (at, len) in [1, 3, 97, 200, 656].into_iter().enumerate() {
        let policy = [
            Policy::Causal,
            Policy::Mma,
            Policy::Bidirectional,
            Policy::Cca,
        ][at % 4];
        let layout = match len {
            1 | 3 => single(Policy::Causal, len, 1),
            _ => packed(policy, len),
        };
        let group = [1, 2, 8][at % 3];
        let case = Case::new(layout, 8, group, head_dim, at as u64);
        for dtype in [FloatDType::F16, FloatDType::BF16] {
            let what = format!("{policy:?}, {len} tokens, heads of {head_dim}, group {group}");
            check(&what, dtype, &case, Kernels::TensorCore);
            check(&what, dtype, &case, Kernels::Plain);
        }
    }
    let decode = AttentionLayout::everything(2, 1, 300);
    let case = Case::new(decode, 8, 2, head_dim, 3);
    check("one token", FloatDType::BF16, &case, Kernels::TensorCore);
    let chunk = packed(Policy::Mma, 200).queries(64..200);
    let case = Case::new(chunk, 8, 2, head_dim, 3);
    check("a chunk", FloatDType::BF16, &case, Kernels::TensorCore);
}

/// Each head width has kernels of its own, which compile side by side.
macro_rules! tensor_cores {
    ($($name:ident: $head_dim:expr;)+) => {
        $(#[test]
        fn $name() {
            tensor_cores($head_dim);
        })+
    };
}

tensor_cores! {
    tensor_cores_64: 64;
    tensor_cores_72: 72;
    tensor_cores_80: 80;
    tensor_cores_96: 96;
    tensor_cores_128: 128;
    tensor_cores_256: 256;
}

/// The output and the gradients by `B`'s own operations, without a graph.
fn by_operations(case: &Case, device: &CubeDevice) -> [TensorData; 4] {
    let [q, k, v, grad] =
        [0, 1, 2, 3].map(|at| CubeBackend::float_from_data(case.data[at].clone(), device));
    let layout = table(case, device);
    let (out, lse) = CubeBackend::attention_forward(
        q.clone(),
        k.clone(),
        v.clone(),
        layout.clone(),
        Kernels::Plain,
    );
    let (dq, dk, dv) =
        CubeBackend::attention_backward(q, k, v, out.clone(), lse, grad, layout, Kernels::Plain);
    [out, dq, dk, dv].map(into_data_sync)
}

fn table(case: &Case, device: &CubeDevice) -> IntTensor<CubeBackend> {
    let table = case.layout.table().values().to_vec();
    let len = table.len();
    CubeBackend::int_from_data(TensorData::new(table, [len]), device)
}

/// The same with autodiff, but without Fusion.
fn by_autodiff(case: &Case, device: &CubeDevice) -> [TensorData; 4] {
    type B = Autodiff<CubeBackend>;
    let tensors = [0, 1, 2].map(|at| {
        let x = B::from_inner(CubeBackend::float_from_data(case.data[at].clone(), device));
        B::float_set_require_grad(x, true)
    });
    let [q, k, v] = tensors.clone();
    let (out, _) = B::attention_forward(q, k, v, table(case, device), Kernels::Plain);
    let weights = B::from_inner(CubeBackend::float_from_data(case.data[3].clone(), device));
    let grads = B::backward(B::float_sum(B::float_mul(out.clone(), weights)));
    let [dq, dk, dv] = tensors.map(|x| into_data_sync(B::grad(&x, &grads).unwrap()));
    [into_data_sync(B::inner(out)), dq, dk, dv]
}

fn f64s(data: &[TensorData; 4]) -> [Vec<f64>; 4] {
    data.each_ref()
        .map(|data| data.clone().convert::<f64>().try_to_vec().unwrap())
}

#[test]
fn fusion_and_autodiff_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let DispatchDevice::Cube(device) = gpu.as_dispatch() else {
        panic!("a WGPU device is one of CubeCL's")
    };
    let case = Case::new(packed(Policy::Mma, 97), 8, 8, 64, 1);
    let expected = by_operations(&case, device);
    assert_eq!(by_operations(&case, device), expected);
    assert_eq!(by_autodiff(&case, device), expected);
    let fused = case.run(&gpu, FloatDType::F32, FloatDType::F32, plain);
    assert_eq!(fused, f64s(&expected));
}

/// Tokens written one by one into a cache with room to spare, which attention reads as it is, by `B`'s
/// own operations without Fusion: as attention over so many keys as there are.
#[test]
fn a_cache_is_read_as_it_is() {
    let Some(gpu) = gpu() else { return };
    let DispatchDevice::Cube(device) = gpu.as_dispatch() else {
        panic!("a WGPU device is one of CubeCL's")
    };
    let (heads, dim, places) = (4, 32, 40);
    let shape = Shape::new([2, heads, places, dim]);
    let dtype = FloatDType::F32;
    let mut cache = [(); 2].map(|()| CubeBackend::float_zeros(shape.clone(), device, dtype));
    // As many keys as tokens so far, for the truth.
    let case = Case::new(AttentionLayout::everything(2, 24, 24), heads, 1, dim, 4);
    let token = |at: usize, i: usize| {
        let all = CubeBackend::float_from_data(case.data[at].clone(), device);
        let range = |range: std::ops::Range<usize>| Slice::from(range);
        CubeBackend::float_slice(all, &[range(0..2), range(0..heads), range(i..i + 1)])
    };
    let cpu = Device::flex();
    for i in 0..24 {
        let place = [
            Slice::from(0..2),
            Slice::from(0..heads),
            Slice::from(i..i + 1),
        ];
        let mut at = 1..;
        cache = cache.map(|held| {
            let new = token(at.next().unwrap(), i);
            CubeBackend::float_slice_assign(held, &place, new)
        });
        let layout = AttentionLayout::decode(&[0..i + 1, i / 2..i + 1], &[0, 0], places);
        let table = layout.table().values().to_vec();
        let len = table.len();
        let table = CubeBackend::int_from_data(TensorData::new(table, [len]), device);
        let [k, v] = cache.clone();
        let (out, _) = CubeBackend::attention_forward(token(0, i), k, v, table, Kernels::Plain);
        let found: Vec<f32> = into_data_sync(out).try_to_vec().unwrap();

        let part = |at: usize, keys: std::ops::Range<usize>| {
            let all = Tensor::<4>::from_data(case.data[at].clone(), &cpu);
            all.slice([0..2, 0..heads, keys, 0..dim])
        };
        let layout = AttentionLayout::decode(&[0..i + 1, i / 2..i + 1], &[0, 0], i + 1);
        let expected = reference::attention(
            part(0, i..i + 1),
            part(1, 0..i + 1),
            part(2, 0..i + 1),
            &layout,
        );
        let expected: Vec<f32> = expected.into_data().try_to_vec().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "token {i}: {found} {expected}"
            );
        }
    }
}

#[test]
fn strides_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let case = Case::new(packed(Policy::Mma, 97), 8, 8, 64, 1);
    let strided = |q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, layout: &AttentionLayout| {
        // As a projection leaves it, `[batch, len, heads, head_dim]`, seen the other way.
        let [q, k, v] = [q, k, v].map(|x| x.swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2));
        plain(q, k, v, layout)
    };
    assert_eq!(
        case.run(&gpu, FloatDType::F32, FloatDType::F32, strided),
        case.run(&gpu, FloatDType::F32, FloatDType::F32, plain)
    );
}

#[test]
fn padding_gives_zero_and_takes_no_gradient() {
    let Some(gpu) = gpu() else { return };
    let len = 97;
    let case = Case::new(packed(Policy::Mma, len), 2, 1, 64, 1);
    for values in case.run(&gpu, FloatDType::F32, FloatDType::F32, plain) {
        let padding = len - len / 16;
        for head in 0..2 {
            let rows = &values[head * len * 64..(head + 1) * len * 64];
            assert!(rows[padding * 64..].iter().all(|&value| value == 0.0));
            assert!(rows[..padding * 64].iter().any(|&value| value != 0.0));
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    let Some(gpu) = gpu() else { return };
    for at in 0..3 {
        let mut case = Case::new(AttentionLayout::everything(1, 97, 97), 2, 1, 64, 1);
        let mut values: Vec<f32> = case.data[at].try_to_vec().unwrap();
        // The last token of head 0, in a partial tile.
        values[96 * 64] = f32::NAN;
        case.data[at] = TensorData::new(values, [1, 2, 97, 64]);
        let [out, ..] = case.run(&gpu, FloatDType::F32, FloatDType::F32, plain);
        let rows: Vec<bool> = out
            .chunks(64)
            .map(|row| row.iter().any(|x| x.is_nan()))
            .collect();
        let touched = |row: usize| row < 97 && (at > 0 || row == 96);
        assert_eq!(rows, (0..2 * 97).map(touched).collect::<Vec<_>>(), "{at}");
    }
}
