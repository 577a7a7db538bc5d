//! Prefill and decoding of one prompt.

use burn::tensor::{FloatDType, Int, Tensor, TensorData};

use super::Sampler;
use crate::attention::AttentionLayout;
use crate::{Aki, MediaSpan};

/// A prompt ready for the network.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Token ids, media slots included.
    pub input_ids: Vec<u32>,
    /// Pixels of the pictures, `[pictures, 3, image_size, image_size]`.
    pub pixels: Option<Tensor<4>>,
    /// Where the pictures stand, all in row 0.
    pub spans: Vec<MediaSpan>,
    /// Who may look at whom: one row, `input_ids.len()` queries and keys.
    pub layout: AttentionLayout,
}

/// Generates until a stop token, `max_new_tokens`, or `on_token` says stop by returning false.
///
/// The prompt is prefilled under its layout; each new token then sees all that is cached. Returns
/// the new ids without the stop token. `on_token` is called with each as it comes.
///
/// # Panics
///
/// If the prompt is empty or its layout is of another length.
pub fn generate(
    aki: &Aki,
    prompt: Prompt,
    stop: &[u32],
    max_new_tokens: usize,
    sampler: &mut Sampler,
    mut on_token: impl FnMut(u32) -> bool,
) -> Vec<u32> {
    let device = burn::module::Module::devices(aki).swap_remove(0);
    let ids = |ids: &[u32]| {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let shape = [1, ids.len()];
        Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device)
    };
    let mut cache = aki.cache();
    let media = prompt.pixels.map(|pixels| aki.encode(pixels));
    let x_btd = aki.fuse(ids(&prompt.input_ids), media, &prompt.spans);
    let mut hidden = aki.forward(x_btd, &prompt.layout, Some(&mut cache));
    // Not the number of tokens: under concentric attention a ring of media tokens is one place.
    let mut position = prompt.layout.positions().last().map_or(0, |last| last + 1);
    let mut answer = Vec::new();
    while answer.len() < max_new_tokens {
        let [_, len, width] = hidden.dims();
        let last = hidden
            .slice([0..1, len - 1..len, 0..width])
            .reshape([1, width]);
        let logits = aki.logits(last).cast(FloatDType::F32).into_data();
        let logits = logits.as_slice::<f32>().expect("logits were cast to f32");
        let id = sampler.draw(logits);
        if stop.contains(&id) {
            break;
        }
        answer.push(id);
        if !on_token(id) || answer.len() == max_new_tokens {
            break;
        }
        let layout = AttentionLayout::decode(&[position], cache.len() + 1);
        position += 1;
        hidden = aki.forward(aki.fuse(ids(&[id]), None, &[]), &layout, Some(&mut cache));
    }
    answer
}
