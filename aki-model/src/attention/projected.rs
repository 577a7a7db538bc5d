//! Attention over a projection as it lies, queries, keys and values side by side in each token, as one
//! operation of Burn for f32 on the CPU.
//!
//! What else would be copies of all heads is read where it is: queries and keys turn while they are
//! gathered for the matrix products, the output comes as the next product wants it, and the backward
//! pass gives the gradient of the projection as a whole.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

use super::AttentionLayout;
use super::engine::{Engine, asked};
use super::ops::Saved;
use super::rope::RotaryTable;
use crate::backward::backward;
use crate::fused::is_allowed;

/// What a token of a projection consists of: the query heads, the key heads, the value heads.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Query heads.
    pub heads: usize,
    /// Key heads, and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl Parts {
    /// Channels of a token.
    pub fn width(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}

/// Attention over a projection. Use [`attention`].
///
/// Cosines and sines are `[batch, 1, len, head_dim]`, or of one row for all. On an autodiff backend the
/// output carries gradients and the log-sum-exp none.
#[backend_extension(Flex, Autodiff)]
pub trait ProjectedOps: Backend {
    /// The output `[batch, len, heads * head_dim]` and each query's log-sum-exp `[batch, len, heads]`.
    fn projected_forward(
        qkv_btc: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        layout: IntTensor<Self>,
        parts: Parts,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of the projection.
    #[allow(clippy::too_many_arguments, reason = "what a backward pass needs")]
    fn projected_backward(
        qkv_btc: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        out_btd: FloatTensor<Self>,
        lse_bth: FloatTensor<Self>,
        grad_btd: FloatTensor<Self>,
        layout: IntTensor<Self>,
        parts: Parts,
    ) -> FloatTensor<Self>;
}

/// Whether the operation takes attention of all tokens over themselves.
pub(super) fn serves(qkv_btc: &Tensor<3>, layout: &AttentionLayout) -> bool {
    let [batch, len, _] = qkv_btc.dims();
    // One query has a kernel of its own.
    len > 1
        && [batch, len, len] == [layout.batch(), layout.query_len(), layout.key_len()]
        && qkv_btc.dtype() == DType::F32
        && is_allowed(&qkv_btc.device())
        && asked() == Engine::Auto
}

/// `softmax(rope(q) rope(k)^T / sqrt(head_dim) + mask) v` under the layout's rule.
///
/// # Shapes
///
/// - `qkv_btc`: `[batch, len, parts.width()]`
/// - output: `[batch, len, heads * head_dim]`
pub(super) fn attention(
    qkv_btc: Tensor<3>,
    table: &RotaryTable,
    layout: &AttentionLayout,
    parts: Parts,
) -> Tensor<3> {
    assert_eq!(qkv_btc.dims()[2], parts.width());
    let on_device = layout.on_device(&qkv_btc.device());
    let (out, _) = Dispatch::projected_forward(
        qkv_btc.into_dispatch(),
        table.cos_b1td.clone().into_dispatch(),
        table.sin_b1td.clone().into_dispatch(),
        on_device.into_dispatch(),
        parts,
    );
    Tensor::from_dispatch(out)
}

impl<B: ProjectedOps, C: CheckpointStrategy> ProjectedOps for Autodiff<B, C> {
    fn projected_forward(
        qkv_btc: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        layout: IntTensor<Self>,
        parts: Parts,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let node = qkv_btc.node();
        let inputs = [qkv_btc, cos, sin].map(FloatTensor::<Self>::into_primitive);
        let [qkv, cos, sin] = inputs.clone();
        let (out, lse) = B::projected_forward(qkv, cos, sin, layout.clone(), parts);
        let kept = lse.clone();
        let out = match Gradient.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    inputs,
                    out: out.clone(),
                    lse,
                    layout,
                    way: parts,
                };
                prep.finish(saved, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        (out, Self::from_inner(kept))
    }

    fn projected_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: Parts,
    ) -> FloatTensor<Self> {
        unreachable!("Burn differentiates once, so nothing asks for the gradient of a gradient")
    }
}

#[derive(Debug)]
struct Gradient;

impl<B: ProjectedOps> Backward<B, 1> for Gradient {
    type State = Saved<B, Parts>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, _, 1>(ops, grads, |saved, grad, _| {
            let Saved {
                inputs: [qkv, cos, sin],
                out,
                lse,
                layout,
                way,
            } = saved;
            let gradient = B::projected_backward(qkv, cos, sin, out, lse, grad, layout, way);
            [Some(gradient)]
        });
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, FloatDType};

    use super::*;
    use crate::attention::{Document, Policy, RopeScaling, RotaryConfig, mma_attention, reference};

    type Engine4 = fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionLayout) -> Tensor<4>;

    struct Case {
        layout: AttentionLayout,
        parts: Parts,
        rope: RotaryConfig,
        qkv_btc: Tensor<3>,
        grad_btd: Tensor<3>,
    }

    impl Case {
        fn new(layout: AttentionLayout, [heads, kv_heads, head_dim]: [usize; 3]) -> Self {
            let device = Device::flex();
            device.seed(len_seed(&layout, head_dim));
            let parts = Parts {
                heads,
                kv_heads,
                head_dim,
            };
            let bell = Distribution::Normal(0.0, 1.2);
            let (batch, len) = (layout.batch(), layout.query_len());
            // LongRoPE, of which the second row may be a long text, and whose cosines are stretched.
            let factors = |from: f64| (0..head_dim / 2).map(move |at| from + 0.1 * at as f64);
            let scaling = RopeScaling::LongRope {
                short_factor: factors(1.0).collect(),
                long_factor: factors(2.0).collect(),
                original_max_position_embeddings: 90,
                attention_factor: 1.19,
            };
            Self {
                layout,
                parts,
                rope: RotaryConfig {
                    head_dim,
                    theta: 10_000.0,
                    scaling: (kv_heads < heads).then_some(scaling),
                },
                qkv_btc: Tensor::random([batch, len, parts.width()], bell, &device),
                grad_btd: Tensor::random([batch, len, heads * head_dim], bell, &device),
            }
        }

        /// The output and the projection's gradient.
        fn run(
            &self,
            dtype: FloatDType,
            attend: impl Fn(Tensor<3>, &RotaryTable) -> Tensor<3>,
        ) -> [Vec<f64>; 2] {
            let qkv = Tensor::from_inner(self.qkv_btc.clone()).cast(dtype);
            let qkv = qkv.detach().require_grad();
            let table = self.layout.rotary(&self.rope, &qkv.device());
            let out = attend(qkv.clone(), &table);
            let grad = Tensor::from_inner(self.grad_btd.clone()).cast(dtype);
            let grads = (out.clone() * grad).sum().backward();
            let numbers = |it: Tensor<3>| it.into_data().iter::<f64>().collect();
            [numbers(out), numbers(qkv.grad(&grads).expect("a gradient"))]
        }

        fn projected(&self) -> [Vec<f64>; 2] {
            self.run(FloatDType::F32, |qkv, table| {
                assert!(serves(&qkv, &self.layout));
                attention(qkv, table, &self.layout, self.parts)
            })
        }

        /// Part by part, with copies.
        fn in_parts(&self, dtype: FloatDType, engine: Engine4) -> [Vec<f64>; 2] {
            let Parts {
                heads,
                kv_heads,
                head_dim,
            } = self.parts;
            self.run(dtype, |qkv, table| {
                let [batch, len, _] = qkv.dims();
                let part = |from: usize, heads: usize| {
                    qkv.clone()
                        .slice([0..batch, 0..len, from * head_dim..(from + heads) * head_dim])
                        .reshape([batch, len, heads, head_dim])
                        .swap_dims(1, 2)
                };
                let q = table.apply(part(0, heads));
                let k = table.apply(part(heads, kv_heads));
                let v = part(heads + kv_heads, kv_heads);
                engine(q, k, v, &self.layout).swap_dims(1, 2).reshape([
                    batch,
                    len,
                    heads * head_dim,
                ])
            })
        }
    }

    fn len_seed(layout: &AttentionLayout, head_dim: usize) -> u64 {
        (layout.query_len() * 1000 + head_dim) as u64
    }

    /// Two rows: one of a document with a picture, and one of padding and packed documents.
    fn layout(policy: Policy, len: usize) -> AttentionLayout {
        let document = |tokens: std::ops::Range<usize>| {
            let (start, third) = (tokens.start, tokens.len() / 3);
            let picture = start + third / 2..start + third;
            Document {
                media: Vec::from_iter((!picture.is_empty()).then_some(picture)),
                question_end: Some(start + 2 * third),
                tokens,
            }
        };
        let rows = [
            vec![document(0..len)],
            vec![document(len / 9..len / 2), document(len / 2..len - len / 7)],
        ];
        AttentionLayout::from_spans(policy, len, &rows).expect("documents fit")
    }

    fn worst(found: &[f64], truth: &[f64]) -> f64 {
        assert_eq!(found.len(), truth.len());
        let off = found.iter().zip(truth).map(|(a, b)| (a - b).abs());
        off.fold(
            0.0,
            |high, it| if it > high || it.is_nan() { it } else { high },
        )
    }

    #[test]
    fn it_is_as_good_as_the_dense_path() {
        let policies = [
            Policy::Causal,
            Policy::Mma,
            Policy::Prefix,
            Policy::Bidirectional,
        ];
        let shapes = [[2, 2, 64], [4, 1, 96], [6, 2, 20], [3, 3, 6], [8, 4, 128]];
        for (i, len) in [2, 3, 17, 97, 300, 529].into_iter().enumerate() {
            for (j, shape) in shapes.into_iter().enumerate() {
                let policy = policies[(i + j) % policies.len()];
                let case = Case::new(layout(policy, len), shape);
                let truth = case.in_parts(FloatDType::F64, reference::attention);
                let dense = case.in_parts(FloatDType::F32, reference::attention);
                let found = case.projected();
                for at in 0..2 {
                    let largest = truth[at]
                        .iter()
                        .fold(0.0, |high: f64, it| high.max(it.abs()));
                    let (ours, theirs) =
                        (worst(&found[at], &truth[at]), worst(&dense[at], &truth[at]));
                    // Where products cancel, some units of f32 of the eight heads may stay.
                    let allowed = 2.0 * theirs + f64::from(f32::EPSILON) * (largest + 32.0);
                    assert!(
                        ours <= allowed,
                        "{policy:?}, {len} tokens, {shape:?}, {at}: {ours:e}, the dense path {theirs:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_output_has_the_bits_of_the_engine_for_heads() {
        for shape in [[2, 2, 64], [4, 1, 96]] {
            let case = Case::new(layout(Policy::Mma, 300), shape);
            let [expected, _] = case.in_parts(FloatDType::F32, mma_attention);
            assert!(case.projected()[0] == expected, "{shape:?}");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let case = Case::new(layout(Policy::Mma, 300), [4, 2, 32]);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| case.projected())
        };
        let alone = on(1);
        for threads in 2..=4 {
            assert!(on(threads) == alone, "{threads} threads");
        }
    }

    /// A projection that is a part of more, and a gradient that is spread.
    #[test]
    fn views_do_not_change_a_bit() {
        let case = Case::new(layout(Policy::Mma, 97), [4, 2, 20]);
        let width = case.parts.width();
        let wide = Tensor::cat(vec![case.qkv_btc.clone(); 2], 2);
        let of_more = Case {
            qkv_btc: wide.slice([0..2, 0..97, width..2 * width]),
            grad_btd: case
                .grad_btd
                .clone()
                .swap_dims(0, 1)
                .mul_scalar(1.0)
                .swap_dims(0, 1),
            layout: case.layout.clone(),
            rope: case.rope.clone(),
            ..case
        };
        assert!(of_more.projected() == case.projected());
    }

    /// Padding gives exactly 0, and nothing flows to or from it.
    #[test]
    fn padding_is_exactly_zero() {
        let case = Case::new(layout(Policy::Mma, 150), [2, 2, 16]);
        let width = [2 * 16, case.parts.width()];
        for (values, width) in case.projected().iter().zip(width) {
            for (at, token) in values.chunks(width).enumerate() {
                let padding = at >= 150 && !(150 / 9..150 - 150 / 7).contains(&(at - 150));
                assert_eq!(padding, token.iter().all(|it| *it == 0.0), "{at}");
            }
        }
    }
}
