//! What is kept of a text, for one that begins in the same way.

use burn::tensor::{FloatDType, Tensor};

use super::Prompt;
use crate::attention::{AttentionLayout, KvCache};
use crate::{Aki, MediaSpan};

/// A text that a decoder has read or written, for a prompt that begins in the same way, as the next turn of a
/// conversation does. [`generate_kept`](super::generate_kept) computes nothing of it again.
///
/// The last bits of an answer may be others than without it, since sums are taken in another order.
#[derive(Clone, Debug, Default)]
pub struct Kept(Option<(Prompt, KvCache)>);

impl Kept {
    /// Keeps the beginning of a prompt and its answer, as far as it is cached: of one row, without padding.
    pub(super) fn keep(&mut self, prompt: &Prompt, mut ids: Vec<u32>, cache: KvCache) {
        ids.truncate(cache.len());
        let new = ids.len().saturating_sub(prompt.input_ids.len());
        let text = Prompt {
            input_ids: ids,
            layout: prompt.layout.followed_by(new),
            ..prompt.clone()
        };
        self.0 = Some((text, cache));
    }

    /// The cache of what a prompt and the text have in common, and the prompt behind it; none if that is
    /// nothing. Nothing is kept afterwards.
    pub(super) fn take(&mut self, aki: &Aki, prompt: &Prompt) -> Option<(KvCache, Prompt)> {
        let (text, mut cache) = self.0.take()?;
        // LongRoPE turns long texts by other angles.
        let is_long = |layout: &AttentionLayout| {
            let last = layout.positions().last().map_or(0, |&last| last as usize);
            aki.longest_short_text().is_some_and(|limit| last >= limit)
        };
        if is_long(&text.layout) != is_long(&prompt.layout) {
            return None;
        }
        let pairs = text.input_ids.iter().zip(&prompt.input_ids);
        let same = pairs.take_while(|(a, b)| a == b).count();
        // The last token gives the first logits.
        let mut common = same.min(prompt.input_ids.len() - 1);
        let pictures = same_pictures(&text, prompt);
        if let Some(other) = prompt.spans.get(pictures) {
            common = common.min(other.tokens.start);
        }
        common = text.layout.common(&prompt.layout, common);
        while let Some(cut) = prompt.spans.iter().find(|span| is_within(common, span)) {
            common = text.layout.common(&prompt.layout, cut.tokens.start);
        }
        if common == 0 {
            return None;
        }
        cache.truncate(common);
        Some((cache, behind(prompt, common)))
    }
}

/// Whether a text that ends before `at` ends in the midst of a picture.
fn is_within(at: usize, span: &MediaSpan) -> bool {
    span.tokens.start < at && at < span.tokens.end
}

/// How many pictures two texts begin with, at the same places.
fn same_pictures(text: &Prompt, prompt: &Prompt) -> usize {
    let [Some(of_text), Some(of_prompt)] = [&text.pixels, &prompt.pixels] else {
        return 0;
    };
    let pairs = text.spans.iter().zip(&prompt.spans).enumerate();
    let is_same = |&(at, (a, b)): &(usize, (&MediaSpan, &MediaSpan))| {
        let picture = |pixels: &Tensor<4>| pixels.clone().slice([at..=at]);
        // Pictures stand in their order.
        a == b && a.picture == at && {
            let apart = (picture(of_text) - picture(of_prompt)).abs().max();
            apart.cast(FloatDType::F32).into_scalar::<f32>() == 0.0
        }
    };
    pairs.take_while(is_same).count()
}

/// What stands in a prompt behind its first `seen` tokens, none of which is part of a picture that goes on.
fn behind(prompt: &Prompt, seen: usize) -> Prompt {
    let len = prompt.input_ids.len();
    let spans = prompt.spans.iter();
    let after: Vec<&MediaSpan> = spans.filter(|span| span.tokens.end > seen).collect();
    // Those before are not needed, unless one is shown again.
    let pictures = after.iter().map(|span| span.picture).min().unwrap_or(0);
    let spans = after.iter().map(|span| MediaSpan {
        row: span.row,
        tokens: span.tokens.start - seen..span.tokens.end - seen,
        picture: span.picture - pictures,
    });
    let rest = |pixels: &Tensor<4>| {
        let all = pixels.dims()[0];
        pixels.clone().slice([pictures..all])
    };
    Prompt {
        input_ids: prompt.input_ids[seen..].to_vec(),
        pixels: prompt
            .pixels
            .as_ref()
            .filter(|_| !after.is_empty())
            .map(rest),
        spans: spans.collect(),
        layout: prompt.layout.queries(seen..len),
    }
}
