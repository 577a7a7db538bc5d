//! What a block of queries does with the tiles of keys that it sees, however its heads lie in memory.

use std::ops::Range;

use pulp::Arch;

use super::gemm::{Matrix, multiply};
use super::softmax::{Running, TILE_KEYS, TILE_QUERIES, dot, hide, weights_and_gradients};
use super::tiles;
use crate::attention::layout::{LayoutTable, Tile};

/// At most [`TILE_QUERIES`] queries of a head.
pub struct Block<'a> {
    pub table: &'a LayoutTable<'a>,
    pub row: usize,
    pub queries: Range<usize>,
    pub head_dim: usize,
    /// `[queries, head_dim]`.
    pub q: Matrix<'a>,
}

/// What the backward pass of a block begins with.
pub struct Outcome<'a> {
    grad: Matrix<'a>,
    lse: &'a [f32],
    /// The sums of output times gradient.
    delta: [f32; TILE_QUERIES],
}

impl<'a> Outcome<'a> {
    /// Of the output and its gradient, `[queries, head_dim]`, and the log-sum-exp of each query.
    pub fn new(out: Matrix<'_>, grad: Matrix<'a>, lse: &'a [f32]) -> Self {
        let arch = Arch::new();
        let mut delta = [0.0; TILE_QUERIES];
        for (i, delta) in delta[..lse.len()].iter_mut().enumerate() {
            *delta = dot(arch, out.row(i), grad.row(i));
        }
        Self { grad, lse, delta }
    }
}

impl Block<'_> {
    /// What the scores are scaled by.
    pub fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// The tiles that show anything, from left to right.
    pub fn tiles(&self) -> impl Iterator<Item = (Range<usize>, Tile)> {
        tiles(self.table, self.row, &self.queries)
    }

    /// Writes the output, `[queries, head_dim]`, which holds zeros, and the log-sum-exp. Keys are
    /// `[head_dim, keys]`, values `[keys, head_dim]`.
    pub fn attend(
        &self,
        k: Matrix<'_>,
        v: Matrix<'_>,
        scores: &mut [f32],
        out: &mut [f32],
        lse: &mut [f32],
    ) {
        let (arch, count) = (Arch::new(), self.queries.len());
        let scores = &mut scores[..count * TILE_KEYS];
        let mut running = Running::new();
        for (at, (keys, tile)) in self.tiles().enumerate() {
            self.score(k, &keys, tile, scores);
            // The first tile writes: to read fresh zeros would cost a page fault more.
            let gathered = (at > 0).then_some(&mut *out);
            running.update(
                arch,
                scores,
                keys.len(),
                self.scale(),
                gathered,
                self.head_dim,
            );
            let weights = Matrix::new(scores, count, keys.len(), TILE_KEYS);
            multiply(out, self.head_dim, at > 0, 1.0, weights, v.rows(keys));
        }
        running.finish(out, self.head_dim, lse);
    }

    /// The weights of a tile and the gradients of its scores, both `[queries, keys]`. Keys and values are
    /// `[head_dim, keys]`.
    pub fn weights_and_gradients<'s>(
        &self,
        outcome: &Outcome<'_>,
        [k, v]: [Matrix<'_>; 2],
        (keys, tile): (&Range<usize>, Tile),
        [scores, gradients]: [&'s mut [f32]; 2],
    ) -> [Matrix<'s>; 2] {
        let count = self.queries.len();
        let (scores, gradients) = (
            &mut scores[..count * TILE_KEYS],
            &mut gradients[..count * TILE_KEYS],
        );
        self.score(k, keys, tile, scores);
        let v = v.columns(keys.clone());
        multiply(gradients, TILE_KEYS, false, 1.0, outcome.grad, v);
        weights_and_gradients(
            Arch::new(),
            scores,
            gradients,
            keys.len(),
            self.scale(),
            outcome.lse,
            &outcome.delta,
        );
        let (scores, gradients): (&'s [f32], &'s [f32]) = (scores, gradients);
        [scores, gradients].map(|it| Matrix::new(it, count, keys.len(), TILE_KEYS))
    }

    fn score(&self, k: Matrix<'_>, keys: &Range<usize>, tile: Tile, scores: &mut [f32]) {
        let k = k.columns(keys.clone());
        multiply(scores, TILE_KEYS, false, 1.0, self.q, k);
        if tile == Tile::Partial {
            hide(self.table, self.row, &self.queries, keys, scores);
        }
    }
}
