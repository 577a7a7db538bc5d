//! No engine of the CPU builds anything of size T x T: peak memory, forward and backward.

use aki_model::attention::{
    AttentionLayout, Document, Engine, Kernels, Policy, mma_attention_with,
};
use burn::tensor::{Device, Tensor, TensorData};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const HEADS: usize = 2;
const HEAD_DIM: usize = 64;

/// Bytes at the peak of a forward and backward pass, the inputs included.
fn peak(tokens: usize) -> usize {
    let device = Device::flex().autodiff();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let input = |phase: usize| {
        let shape = [1, HEADS, tokens, HEAD_DIM];
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|i| ((i + phase) as f32 * 0.71).sin())
            .collect();
        Tensor::<4>::from_data(TensorData::new(values, shape), &device).require_grad()
    };
    let (q, k, v) = (input(0), input(1), input(2));
    let document = Document {
        tokens: 0..tokens,
        media: vec![40..184],
        question_end: Some(tokens / 2),
    };
    let layout = AttentionLayout::from_spans(Policy::Mma, tokens, &[vec![document]]).unwrap();
    let engine = Engine::Fused(Kernels::Auto);
    let out = mma_attention_with(engine, q.clone(), k, v, &layout);
    let grads = out.sum().backward();
    assert!(q.grad(&grads).is_some());
    ALLOCATED.peak_usage() - before
}

#[test]
fn memory_grows_with_the_tokens_not_their_square() {
    let (half, whole) = (peak(4096), peak(8192));
    assert!(
        whole as f64 <= 1.2 * 2.0 * half as f64,
        "{whole} bytes at 8192 tokens, {half} at 4096"
    );
    // One matrix of scores of one head would be 256 MiB.
    let matrix = 8192 * 8192 * size_of::<f32>();
    assert!(whole < matrix / 2, "{whole} bytes at 8192 tokens");
}
