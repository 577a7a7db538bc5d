//! Who looks at whom: the attention probabilities between a prompt's pictures and its text.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::Aki;
use crate::attention::{AttentionLayout, reference};
use crate::generate::{Prompt, tensor};

/// Rows whose probabilities over all keys are held at a time.
const ROWS: usize = 128;

/// A layer's attention between media tokens and text tokens.
#[derive(Clone, Debug)]
pub struct LayerView {
    /// The decoder block's number.
    pub layer: usize,
    /// How much media tokens look at text tokens, `[heads, text, media]`. Under MMA these are the pairs
    /// that the rule adds; under causal attention those with text behind the picture are exactly 0.
    pub of_media: Tensor<3>,
    /// How much text tokens look at media tokens, `[heads, text, media]`.
    pub of_text: Tensor<3>,
}

impl Aki {
    /// The attention probabilities between the media tokens of a prompt, those of all its pictures one
    /// after the other, and the tokens at the places `text`, in the decoder blocks `layers`.
    ///
    /// They are the softmax over all that a row sees under the prompt's layout, in f32, of the very
    /// queries and keys that the network works with. No more than some rows are held at a time.
    ///
    /// # Panics
    ///
    /// As [`Aki::fuse`], or if the prompt has no picture, there are no places, or one lies outside the prompt.
    pub fn view(&self, prompt: &Prompt, text: &[usize], layers: &[usize]) -> Vec<LayerView> {
        let device = self.devices().swap_remove(0);
        let len = prompt.input_ids.len();
        let ids = tensor(&prompt.input_ids, [1, len], &device);
        let media_nld = prompt.pixels.clone().map(|pixels| self.encode(pixels));
        let x_btd = self.fuse(ids, media_nld, &prompt.spans);
        let spans = prompt.spans.iter();
        let media: Vec<usize> = spans.flat_map(|span| span.tokens.clone()).collect();

        let mut views = Vec::new();
        let language = self.language();
        language.watch(x_btd, &prompt.layout, layers, |layer, [q, k]| {
            let of_media = between(&q, &k, &prompt.layout, &media, text);
            views.push(LayerView {
                layer,
                of_media: of_media.swap_dims(1, 2),
                of_text: between(&q, &k, &prompt.layout, text, &media),
            });
        });
        views
    }
}

/// How much the queries at `rows` look at the keys at `columns`, `[heads, rows, columns]`.
fn between(
    q_bhtd: &Tensor<4>,
    k_bhsd: &Tensor<4>,
    layout: &AttentionLayout,
    rows: &[usize],
    columns: &[usize],
) -> Tensor<3> {
    let device = q_bhtd.device();
    let columns = places(columns, &device);
    let parts = rows.chunks(ROWS).map(|rows| {
        let of_rows = layout.queries(rows.iter().copied());
        let q_bhtd = q_bhtd.clone().select(2, places(rows, &device));
        reference::probabilities(q_bhtd, k_bhsd.clone(), &of_rows)
            .select(3, columns.clone())
            .squeeze_dim::<3>(0)
    });
    Tensor::cat(parts.collect(), 1)
}

fn places(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = places.iter().map(|&place| place as i32).collect();
    Tensor::from_data(TensorData::new(values, [places.len()]), device)
}
