//! The blocks in the backward pass once more, so that of each only its input is kept.
//!
//! Autodiff keeps what every operation of a block needs, some 20 times the block's input. Here the
//! blocks run without autodiff, and in the backward pass, the last first, each runs again with it from
//! its own input: one forward pass more, for the memory of one block instead of all.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};

use super::LanguageModel;
use super::carry::carry;
use super::decoder::DecoderLayer;
use crate::attention::AttentionLayout;
use crate::fused::rms_norm;

/// What a forward pass leaves for its backward pass.
pub struct Trail {
    /// What went in, with its own past.
    x_btd: Tensor<3>,
    /// The input of each block, without autodiff.
    inputs: Vec<Tensor<3>>,
    /// What came out of the last, a leaf.
    last: Tensor<3>,
}

impl LanguageModel {
    /// As [`LanguageModel::forward`] without a cache. What comes out depends on nothing but itself;
    /// [`Trail::backward`] carries its gradient on.
    ///
    /// # Shapes
    ///
    /// - `x_btd` and output: `[batch, len, hidden]`
    pub fn forward_trailing(
        &self,
        x_btd: Tensor<3>,
        layout: &AttentionLayout,
    ) -> (Tensor<3>, Trail) {
        let mut x = x_btd.clone().inner();
        let mut inputs = Vec::with_capacity(self.model.layers.len());
        for layer in &self.model.layers {
            inputs.push(x.clone());
            x = layer.valid().forward(x, layout, None);
        }
        let last = Tensor::from_inner(x).require_grad();
        let trail = Trail {
            x_btd,
            inputs,
            last: last.clone(),
        };
        (rms_norm(&self.model.norm, last), trail)
    }
}

impl Trail {
    /// Carries `gradients`, those of a loss of what [`LanguageModel::forward_trailing`] gave, through
    /// the blocks to whatever was before them. `collect` is given all gradients, in several parts: a
    /// parameter that is used in two places has its gradient in two of them.
    ///
    /// # Panics
    ///
    /// If the loss does not depend on that output.
    pub fn backward(
        mut self,
        model: &LanguageModel,
        layout: &AttentionLayout,
        gradients: Gradients,
        mut collect: impl FnMut(Gradients),
    ) {
        let gradient = self.last.grad(&gradients);
        let mut gradient = gradient.expect("the loss depends on the hidden states");
        collect(gradients);
        for layer in model.model.layers.iter().rev() {
            let input = self.inputs.pop().expect("each block has an input");
            let (before, gradients) = through(layer, input, layout, gradient);
            collect(gradients);
            gradient = before;
        }
        collect(seeded(self.x_btd, gradient));
    }
}

/// The gradient of a block's input, and those of its parameters.
fn through(
    layer: &DecoderLayer,
    input: Tensor<3>,
    layout: &AttentionLayout,
    gradient: Tensor<3>,
) -> (Tensor<3>, Gradients) {
    let x = Tensor::from_inner(input).require_grad();
    let gradients = seeded(layer.forward(x.clone(), layout, None), gradient);
    let before = x.grad(&gradients).expect("a block depends on its input");
    (before, gradients)
}

/// The gradients of whatever `y` was made of, given that of `y`.
fn seeded(y: Tensor<3>, gradient: Tensor<3>) -> Gradients {
    carry(y, gradient).backward()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::attention::{Document, Policy};
    use crate::language::LanguageConfig;

    /// The gradients of a module's parameters in a part of them, `None` where it has none.
    #[derive(Default)]
    struct Read<'a> {
        of: Option<&'a Gradients>,
        found: Vec<Option<Vec<f32>>>,
    }

    impl ModuleVisitor for Read<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.of.and_then(|of| param.val().grad(of));
            let values = gradient.map(|it| it.into_data().try_to_vec().expect("f32"));
            self.found.push(values);
        }
    }

    fn read(model: &LanguageModel, gradients: &Gradients) -> Vec<Option<Vec<f32>>> {
        let mut read = Read {
            of: Some(gradients),
            found: Vec::new(),
        };
        model.visit(&mut read);
        read.found
    }

    #[test]
    fn it_gives_the_gradients_of_the_whole_graph() {
        let config = LanguageConfig {
            vocab_size: 40,
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            rope_scaling: None,
            tie_word_embeddings: true,
            added_tokens: 0,
            ..LanguageConfig::known("microsoft/Phi-3.5-mini-instruct").expect("known")
        };
        let device = Device::flex().autodiff();
        device.seed(5);
        let model = config.init(40, &device);
        let document = |len| Document {
            tokens: 0..len,
            media: vec![1..3],
            question_end: Some(5),
        };
        let documents = [vec![document(7)], vec![document(6)]];
        let layout = AttentionLayout::from_spans(Policy::Mma, 7, &documents).expect("layout");
        let x = || {
            device.seed(6);
            let x = Tensor::<3>::random([2, 7, 32], Distribution::Default, &device);
            x.require_grad()
        };
        let weight = Tensor::<3>::random([2, 7, 32], Distribution::Default, &device);

        let whole = x();
        let hidden = model.forward(whole.clone(), &layout, None);
        let plain = (hidden.clone() * weight.clone()).sum().backward();

        let kept = x();
        let (trailing, trail) = model.forward_trailing(kept.clone(), &layout);
        assert_eq!(trailing.to_data(), hidden.to_data());
        let loss = (trailing * weight).sum();
        let mut parts = Vec::new();
        let mut before = None;
        trail.backward(&model, &layout, loss.backward(), |gradients| {
            before = kept.grad(&gradients).or(before.take());
            parts.push(read(&model, &gradients));
        });
        // The head's side, three blocks, and what was before them.
        assert_eq!(parts.len(), 5);
        assert_eq!(
            before.expect("the input's gradient").into_data(),
            whole
                .grad(&plain)
                .expect("the input's gradient")
                .into_data()
        );
        for (at, plain) in read(&model, &plain).into_iter().enumerate() {
            let mut found = parts.iter().filter_map(|part| part[at].clone());
            assert_eq!(found.next(), plain, "parameter {at}");
            assert_eq!(found.next(), None, "parameter {at} twice");
        }
    }
}
