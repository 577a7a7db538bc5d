//! The oracle: ordinary tensor operations and a dense mask built pair by pair from the layout.
//!
//! Every other engine is held against this one. It costs `O(T^2)` memory.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, FloatDType, Tensor, TensorData};

use super::AttentionLayout;

/// What a hidden score becomes: far below any real one, and finite, so that a row which sees
/// nothing gives no NaN.
const HIDDEN: f32 = -1e30;

/// Softmax attention of the visible pairs, computed in f32, or in f64 where the inputs are.
///
/// # Shapes
///
/// - `q_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`, `kv_heads` dividing `heads`
/// - output: as `q_bhtd`; a row that sees nothing is exactly 0
pub fn attention(
    q_bhtd: Tensor<4>,
    k_bhsd: Tensor<4>,
    v_bhsd: Tensor<4>,
    layout: &AttentionLayout,
) -> Tensor<4> {
    let [_, heads, _, _] = q_bhtd.dims();
    let dtype = q_bhtd.dtype();
    let v_bhsd = repeat_heads(v_bhsd.cast(computed(dtype)), heads);
    let weights_bhts = probabilities(q_bhtd, k_bhsd, layout);
    weights_bhts.matmul(v_bhsd).cast(dtype)
}

/// How much each query looks at each key, in f32, or in f64 where the inputs are.
///
/// # Shapes
///
/// - `q_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`: `[batch, kv_heads, key_len, head_dim]`, `kv_heads` dividing `heads`
/// - output: `[batch, heads, query_len, key_len]`; a row sums to 1, and one that sees nothing is exactly 0
pub fn probabilities(q_bhtd: Tensor<4>, k_bhsd: Tensor<4>, layout: &AttentionLayout) -> Tensor<4> {
    let [_, heads, _, head_dim] = q_bhtd.dims();
    let computed = computed(q_bhtd.dtype());
    let device = q_bhtd.device();
    let scale = 1.0 / (head_dim as f64).sqrt();

    let k_bhsd = repeat_heads(k_bhsd.cast(computed), heads);
    let q_bhtd = q_bhtd.cast(computed).mul_scalar(scale);
    let scores_bhts = q_bhtd.matmul(k_bhsd.transpose());

    if layout.is_everything() {
        return softmax(scores_bhts, 3);
    }
    let hidden_bhts = hidden(layout, &device).expand(scores_bhts.shape());
    let weights = softmax(scores_bhts.mask_fill(hidden_bhts.clone(), HIDDEN), 3);
    if layout.has_empty_rows() {
        weights.mask_fill(hidden_bhts, 0.0)
    } else {
        weights
    }
}

/// The type that inputs of `dtype` are computed in.
fn computed(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// The dense mask, true where a pair is hidden: `[batch, 1, query_len, key_len]`.
pub fn hidden(layout: &AttentionLayout, device: &Device) -> Tensor<4, Bool> {
    let shape = [layout.batch(), 1, layout.query_len(), layout.key_len()];
    let mut values = Vec::with_capacity(shape.iter().product());
    for row in 0..layout.batch() {
        for i in 0..layout.query_len() {
            values.extend((0..layout.key_len()).map(|j| !layout.visible(row, i, j)));
        }
    }
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Repeats grouped key or value heads so that there is one for each query head.
///
/// # Shapes
///
/// - `x_bhsd`: `[batch, kv_heads, key_len, head_dim]`
/// - output: `[batch, heads, key_len, head_dim]`
pub fn repeat_heads(x_bhsd: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, len, head_dim] = x_bhsd.dims();
    if kv_heads == heads {
        return x_bhsd;
    }
    let group = heads / kv_heads;
    x_bhsd
        .reshape([batch, kv_heads, 1, len, head_dim])
        .expand([batch, kv_heads, group, len, head_dim])
        .reshape([batch, heads, len, head_dim])
}
