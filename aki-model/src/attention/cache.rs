//! Keys and values of the tokens a decoder has already seen.
//!
//! A cache has room before it has tokens, and new ones are written in place. Attention reads it as a
//! whole: a layout that has as many keys as the cache has places hides those that are not taken yet,
//! so no token costs a copy of what stands before it, and GPU kernels meet one shape throughout.

use burn::tensor::{Int, Tensor, TensorData};

/// Places added at a time to a cache that turns out too small.
const GROWTH: usize = 256;

/// One layer's keys and values.
#[derive(Clone, Debug, Default)]
pub struct LayerCache {
    /// `[batch, kv_heads, capacity, head_dim]` each, 0 where nothing has been written; `None` before
    /// the first token. Behind `len` may be what was forgotten.
    held: Option<(Tensor<4>, Tensor<4>)>,
    len: usize,
    capacity: usize,
}

impl LayerCache {
    /// Writes the new tokens' keys and values behind those held, and returns the first `key_len`
    /// places: of all tokens, or more.
    pub(super) fn append(
        &mut self,
        k_bhsd: Tensor<4>,
        v_bhsd: Tensor<4>,
        key_len: usize,
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, new, head_dim] = k_bhsd.dims();
        let end = self.len + new;
        self.reserve(end);
        let room = |like: &Tensor<4>| {
            let shape = [batch, heads, self.capacity, head_dim];
            Tensor::zeros(shape, (&like.device(), like.dtype()))
        };
        // Taken out, so that there is one owner and the backend can write in place.
        let (k, v) = self
            .held
            .take()
            .unwrap_or_else(|| (room(&k_bhsd), room(&v_bhsd)));
        let places = [0..batch, 0..heads, self.len..end, 0..head_dim];
        // What is all there is need not be read back from the cache.
        let fresh = (self.len == 0 && key_len == new).then(|| (k_bhsd.clone(), v_bhsd.clone()));
        let k = k.slice_assign(places.clone(), k_bhsd);
        let v = v.slice_assign(places, v_bhsd);
        self.held = Some((k.clone(), v.clone()));
        self.len = end;
        let part = |all: Tensor<4>| match key_len {
            whole if whole == self.capacity => all,
            part => all.slice([0..batch, 0..heads, 0..part, 0..head_dim]),
        };
        fresh.unwrap_or_else(|| (part(k), part(v)))
    }

    /// Makes room for `len` tokens in all.
    fn reserve(&mut self, len: usize) {
        if len <= self.capacity {
            return;
        }
        self.capacity = len.next_multiple_of(GROWTH);
        if let Some((k, v)) = self.held.take() {
            let grown = |old: Tensor<4>| {
                let [batch, heads, places, head_dim] = old.dims();
                let shape = [batch, heads, self.capacity, head_dim];
                Tensor::zeros(shape, (&old.device(), old.dtype()))
                    .slice_assign([0..batch, 0..heads, 0..places, 0..head_dim], old)
            };
            self.held = Some((grown(k), grown(v)));
        }
    }
}

/// The caches of all layers of a decoder.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
}

impl KvCache {
    /// An empty cache for a decoder of `layers` layers with room for `capacity` tokens a row. It
    /// grows where that does not suffice.
    pub fn new(layers: usize, capacity: usize) -> Self {
        let layer = LayerCache {
            capacity,
            ..LayerCache::default()
        };
        Self {
            layers: vec![layer; layers],
        }
    }

    /// Tokens held a row, padding included.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.len)
    }

    /// Whether nothing has been cached yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens a row that there is room for, those held included: a layout of so many keys makes
    /// attention read the cache as it is.
    pub fn capacity(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.capacity)
    }

    /// Makes room for `new` more tokens a row.
    pub fn reserve(&mut self, new: usize) {
        for layer in &mut self.layers {
            layer.reserve(layer.len + new);
        }
    }

    /// Forgets all tokens but the first `len` of each row.
    pub fn truncate(&mut self, len: usize) {
        for layer in &mut self.layers {
            layer.len = layer.len.min(len);
        }
    }

    /// Keeps the batch rows `rows`, in their order, and forgets the others. A row may be kept several times.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn keep_rows(&mut self, rows: &[usize]) {
        for layer in &mut self.layers {
            layer.held = layer.held.take().map(|(k, v)| {
                let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
                let count = rows.len();
                let index = TensorData::new(rows, [count]);
                let index = Tensor::<1, Int>::from_data(index, &k.device());
                (k.select(0, index.clone()), v.select(0, index))
            });
        }
    }
}
