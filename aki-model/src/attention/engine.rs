//! The seam: one function that every network calls and every engine serves.

use burn::tensor::Tensor;

use super::{AttentionLayout, reference};

/// Attention of `q` over `k` and `v` under the layout's visibility rule, scaled by
/// `1 / sqrt(head_dim)`.
///
/// The engine is chosen here; today there is one, the dense [`mod@reference`].
///
/// # Shapes
///
/// - `q_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`, `kv_heads` dividing `heads`
/// - output: as `q_bhtd`; a row that sees nothing is exactly 0
///
/// # Panics
///
/// If the shapes disagree with each other or with the layout.
pub fn mma_attention(
    q_bhtd: Tensor<4>,
    k_bhsd: Tensor<4>,
    v_bhsd: Tensor<4>,
    layout: &AttentionLayout,
) -> Tensor<4> {
    let [batch, heads, query_len, head_dim] = q_bhtd.dims();
    let [_, kv_heads, key_len, _] = k_bhsd.dims();
    assert_eq!(
        [batch, query_len, key_len],
        [layout.batch(), layout.query_len(), layout.key_len()],
        "mma_attention: [batch, query_len, key_len] of the tensors and of the layout differ"
    );
    assert_eq!(
        k_bhsd.dims(),
        [batch, kv_heads, key_len, head_dim],
        "mma_attention: the keys' shape does not fit the queries' {:?}",
        q_bhtd.dims()
    );
    assert_eq!(
        k_bhsd.dims(),
        v_bhsd.dims(),
        "mma_attention: keys and values differ in shape"
    );
    assert!(
        kv_heads > 0 && heads.is_multiple_of(kv_heads),
        "mma_attention: {kv_heads} key/value heads do not divide {heads} query heads"
    );
    reference::attention(q_bhtd, k_bhsd, v_bhsd, layout)
}
