//! Keys and values of the tokens a decoder has already seen.

use burn::tensor::Tensor;

/// One layer's keys and values, `[batch, kv_heads, len, head_dim]` each.
#[derive(Clone, Debug, Default)]
pub struct LayerCache(Option<(Tensor<4>, Tensor<4>)>);

impl LayerCache {
    /// Appends the new tokens' keys and values and returns all of them.
    pub(super) fn append(
        &mut self,
        k_bhsd: Tensor<4>,
        v_bhsd: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let both = match self.0.take() {
            None => (k_bhsd, v_bhsd),
            Some((k, v)) => (
                Tensor::cat(vec![k, k_bhsd], 2),
                Tensor::cat(vec![v, v_bhsd], 2),
            ),
        };
        self.0 = Some(both.clone());
        both
    }

    /// Tokens held.
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |(k, _)| k.dims()[2])
    }
}

/// The caches of all layers of a decoder.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
}

impl KvCache {
    /// An empty cache for a decoder of `layers` layers.
    pub fn new(layers: usize) -> Self {
        Self {
            layers: vec![LayerCache::default(); layers],
        }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, LayerCache::len)
    }

    /// Whether nothing has been cached yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
