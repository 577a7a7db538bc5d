//! The hidden states of a text.

use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::language::LanguageModel;
use burn::tensor::{Device, Element, Int, Tensor, TensorData};

/// Of a text without pictures, `[len, hidden]`.
pub fn hidden<E: Element>(model: &LanguageModel, ids: &[E], device: &Device) -> Tensor<2> {
    let document = Document {
        tokens: 0..ids.len(),
        media: vec![],
        question_end: None,
    };
    let layout = AttentionLayout::from_spans(Policy::Causal, ids.len(), &[vec![document]]).unwrap();
    let ids = TensorData::new(ids.to_vec(), [1, ids.len()]);
    let ids = Tensor::<2, Int>::from_data(ids, device);
    model
        .forward(model.embed(ids), &layout, None)
        .squeeze_dim(0)
}
