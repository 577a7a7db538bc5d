//! Prefill and decoding of a batch of prompts.

use std::ops::Range;
use std::time::{Duration, Instant};

#[cfg(feature = "flex")]
use burn::backend::DispatchDevice;
use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use super::{Kept, Logprobs, Sampler};
use crate::attention::{AttentionLayout, KvCache};
use crate::{Aki, MediaSpan};

/// Rows of logits made at a time where those of a whole prompt are asked for.
const LOGIT_ROWS: usize = 128;

/// Pictures encoded at a time: in between it is asked whether the answer is still wanted.
const PICTURES: usize = 4;

/// New tokens that a cache has room for from the beginning, at most.
const MOST_ROOM: usize = 4096;

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

/// When to stop, and what to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Token ids that end an answer.
    pub stop: Vec<u32>,
    /// The longest answer.
    pub max_new_tokens: usize,
    /// Whether to keep the logits of all tokens of the prompt.
    pub prompt_logits: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this stop token, which is not part of it.
    Stop(u32),
    /// It is as long as it may be.
    Length,
    /// The caller had enough.
    Caller,
    /// No logit was a number: weights or activations overflowed.
    NoNumbers,
}

/// What followed a prompt.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The new ids.
    pub token_ids: Vec<u32>,
    /// Why there are no more.
    pub ended: Ended,
    /// Logits in f32 of the prompt's tokens, `[len, vocabulary]`, if asked for.
    pub prompt_logits: Option<TensorData>,
}

/// The answers to a batch of prompts.
#[derive(Clone, Debug)]
pub struct Generation {
    /// One a prompt.
    pub answers: Vec<Answer>,
    /// Tokens of the prompt that nothing was computed of, since they were kept.
    pub known: usize,
    /// Time up to the logits of the first new token, pictures included.
    pub prefill: Duration,
    /// Time after that.
    pub decode: Duration,
}

/// An answer that is being made.
struct Row {
    answer: usize,
    prompt: usize,
    /// Where the prompt begins in the cache; before it is padding.
    start: usize,
    /// The next token's place in its document. Not the number of tokens: under concentric attention
    /// a ring of media tokens is one place.
    position: u32,
    /// Prompt and answer.
    ids: Vec<u32>,
}

/// Answers prompts, several at a time.
///
/// The prompts are prefilled under their layouts, padded on the left to one length; each new token
/// then sees all of its row that is cached. A row that has ended leaves the batch. `samplers` has one
/// for each prompt, or as many for each: the first are the first prompt's. There are as many answers, and
/// a prompt is prefilled once for all of its own. `on_token` is called with the answer's number and each
/// new id as it comes; returning false ends that answer.
///
/// # Panics
///
/// If there are not as many samplers for each prompt, or if a prompt is empty, has another number of rows
/// than one or a layout of another length.
pub fn generate(
    aki: &Aki,
    prompts: &[Prompt],
    samplers: &mut [Sampler],
    options: &GenerateOptions,
    mut on_token: impl FnMut(usize, u32) -> bool,
) -> Generation {
    let scored = |answer, id, _| on_token(answer, id);
    generate_scored(aki, prompts, samplers, options, None, &|| true, scored)
}

/// As [`generate`]; with each new id come its log-probability and those of the `top` likeliest tokens, if a
/// number is given. Before the first token `going_on` is asked between pictures and between layers: once it
/// says no, all answers end with [`Ended::Caller`], empty.
///
/// # Panics
///
/// As [`generate`].
pub fn generate_scored(
    aki: &Aki,
    prompts: &[Prompt],
    samplers: &mut [Sampler],
    options: &GenerateOptions,
    top: Option<usize>,
    going_on: &dyn Fn() -> bool,
    on_token: impl FnMut(usize, u32, Option<Logprobs>) -> bool,
) -> Generation {
    let asked = Asked {
        prompts,
        samplers,
        kept: None,
    };
    answer(aki, asked, options, top, going_on, on_token)
}

/// As [`generate_scored`] of one prompt, without scores. What it has in common with the text that `kept` has is
/// not computed again; afterwards `kept` has the prompt with its answer, or what they had in common if it was
/// given up. Where the prompt's logits are asked for, all of it is computed; where no token is, nothing is kept.
///
/// # Panics
///
/// As [`generate`].
pub fn generate_kept(
    aki: &Aki,
    kept: &mut Kept,
    prompt: Prompt,
    sampler: &mut Sampler,
    options: &GenerateOptions,
    going_on: &dyn Fn() -> bool,
    mut on_token: impl FnMut(u32) -> bool,
) -> Generation {
    let asked = Asked {
        prompts: &[prompt],
        samplers: std::slice::from_mut(sampler),
        kept: Some(kept),
    };
    answer(aki, asked, options, None, going_on, |_, id, _| on_token(id))
}

/// What is to be answered.
struct Asked<'a> {
    prompts: &'a [Prompt],
    samplers: &'a mut [Sampler],
    /// Of one prompt with one sampler, the text before it.
    kept: Option<&'a mut Kept>,
}

fn answer(
    aki: &Aki,
    asked: Asked,
    options: &GenerateOptions,
    top: Option<usize>,
    going_on: &dyn Fn() -> bool,
    mut on_token: impl FnMut(usize, u32, Option<Logprobs>) -> bool,
) -> Generation {
    let Asked {
        prompts,
        samplers,
        mut kept,
    } = asked;
    let each = samplers.len() / prompts.len().max(1);
    let whole = each * prompts.len() == samplers.len() && (each > 0 || prompts.is_empty());
    assert!(whole, "as many samplers for each prompt");
    let begun = Instant::now();
    let mut answers = vec![
        Answer {
            token_ids: Vec::new(),
            ended: Ended::Length,
            prompt_logits: None,
        };
        samplers.len()
    ];
    let mut known = 0;
    let finish = |answers, known, prefill: Option<Duration>| {
        let all = begun.elapsed();
        let prefill = prefill.unwrap_or(all);
        Generation {
            answers,
            known,
            prefill,
            decode: all.saturating_sub(prefill),
        }
    };
    if prompts.is_empty() {
        return finish(answers, known, None);
    }
    let device = aki.devices().swap_remove(0);
    let len = prompts.iter().map(|p| p.input_ids.len()).max();
    let len = len.unwrap_or(0);
    let mut rows: Vec<Row> = (0..samplers.len())
        .map(|answer| begin(answer, answer / each, prompts, len))
        .collect();
    let text = kept.as_deref_mut().filter(|_| !options.prompt_logits);
    let (cache, rest) = text.and_then(|kept| kept.take(aki, &prompts[0])).unzip();
    let unread = rest.as_ref().map_or(prompts, std::slice::from_ref);
    let new = rest.as_ref().map_or(len, |rest| rest.input_ids.len());
    known = len - new;
    let mut cache = cache.unwrap_or_else(|| aki.cache(room(len, options)));
    cache.reserve(room(new, options));
    let read = prefill(aki, unread, new, &mut cache, &device, going_on);
    let Some(mut hidden) = read else {
        for answer in &mut answers {
            answer.ended = Ended::Caller;
        }
        if let Some(kept) = kept {
            cache.truncate(known);
            kept.keep(&prompts[0], rows.swap_remove(0).ids, cache);
        }
        return finish(answers, known, None);
    };
    if options.prompt_logits {
        for row in &rows {
            answers[row.answer].prompt_logits =
                Some(logits_of(aki, &hidden, row.prompt, row.start..len));
        }
    }
    if options.max_new_tokens == 0 {
        return finish(answers, known, None);
    }
    if each > 1 {
        hidden = repeat(&rows, hidden, &mut cache);
    }
    let mut prefill = None;
    loop {
        let mut logits = on_pool(&device, || last_logits(aki, hidden));
        prefill.get_or_insert_with(|| begun.elapsed());
        let drawn = Drawn {
            rows: &mut rows,
            answers: &mut answers,
            samplers,
        };
        let going_on = drawn.next(&mut logits, options, top, &mut on_token);
        if going_on.is_empty() {
            break;
        }
        if going_on.len() < rows.len() {
            cache.keep_rows(&going_on);
            let mut at = 0..;
            rows.retain(|_| at.next().is_some_and(|at| going_on.contains(&at)));
        }
        // LongRoPE turns long texts by other angles: what was cached of a text that has just become one
        // is worth nothing.
        let becomes_long = |row: &Row| Some(row.position as usize) == aki.longest_short_text();
        let long = rows.iter().any(becomes_long);
        hidden = on_pool(&device, || match long {
            true => again(aki, prompts, &mut rows, options, &mut cache, &device),
            false => step(aki, &mut rows, &mut cache, &device),
        });
    }
    if let (Some(kept), Some(row)) = (kept, rows.pop())
        && answers[row.answer].ended != Ended::NoNumbers
    {
        kept.keep(&prompts[row.prompt], row.ids, cache);
    }
    finish(answers, known, prefill)
}

/// Answers that are being drawn.
struct Drawn<'a> {
    rows: &'a mut [Row],
    answers: &'a mut [Answer],
    samplers: &'a mut [Sampler],
}

impl Drawn<'_> {
    /// Draws each row's next token from its logits, and gives the places of the rows that go on.
    fn next(
        self,
        logits: &mut [f32],
        options: &GenerateOptions,
        top: Option<usize>,
        on_token: &mut impl FnMut(usize, u32, Option<Logprobs>) -> bool,
    ) -> Vec<usize> {
        let vocabulary = logits.len() / self.rows.len();
        let mut going_on = Vec::new();
        let rows = self.rows.iter_mut().zip(logits.chunks_mut(vocabulary));
        for (at, (row, logits)) in rows.enumerate() {
            let answer = &mut self.answers[row.answer];
            if !logits.iter().any(|logit| logit.is_finite()) {
                answer.ended = Ended::NoNumbers;
                continue;
            }
            // Drawing changes them.
            let unchanged = top.map(|_| logits.to_vec());
            let id = self.samplers[row.answer].draw(logits, &row.ids);
            if options.stop.contains(&id) {
                answer.ended = Ended::Stop(id);
                continue;
            }
            answer.token_ids.push(id);
            row.ids.push(id);
            let scored = unchanged
                .zip(top)
                .map(|(logits, top)| Logprobs::new(&logits, id, top));
            if !on_token(row.answer, id, scored) {
                answer.ended = Ended::Caller;
            } else if answer.token_ids.len() < options.max_new_tokens {
                going_on.push(at);
            }
        }
        going_on
    }
}

/// Does work on the threads that the CPU's kernels use. From outside, each of some hundred small
/// kernels a token would wake them and wait for them.
fn on_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    if let DispatchDevice::Flex(_) = device.as_dispatch() {
        return rayon::scope(|_| work());
    }
    let _ = device;
    work()
}

/// Places in a cache for `len` tokens and those to come. Answers that may be very long seldom are: the
/// cache grows then.
fn room(len: usize, options: &GenerateOptions) -> usize {
    len + options.max_new_tokens.min(MOST_ROOM)
}

fn begin(answer: usize, at: usize, prompts: &[Prompt], len: usize) -> Row {
    let prompt = &prompts[at];
    let own = prompt.input_ids.len();
    assert!(own > 0, "prompt {at} is empty");
    let layout = &prompt.layout;
    assert_eq!(
        [layout.batch(), layout.query_len(), layout.key_len()],
        [1, own, own],
        "prompt {at} and its layout differ in length"
    );
    Row {
        answer,
        prompt: at,
        start: len - own,
        position: layout.positions().last().map_or(0, |last| last + 1),
        ids: prompt.input_ids.clone(),
    }
}

/// Each row with what its prompt came to: the last hidden states, `[rows, 1, hidden]`.
fn repeat(rows: &[Row], hidden_btd: Tensor<3>, cache: &mut KvCache) -> Tensor<3> {
    let [prompts, len, width] = hidden_btd.dims();
    let of_rows: Vec<usize> = rows.iter().map(|row| row.prompt).collect();
    cache.keep_rows(&of_rows);
    let last = hidden_btd.slice([0..prompts, len - 1..len, 0..width]);
    let of_rows: Vec<Tensor<3>> = of_rows
        .into_iter()
        .map(|row| last.clone().slice([row..row + 1]))
        .collect();
    Tensor::cat(of_rows, 0)
}

/// The hidden states of all prompts, `[prompts, len, hidden]`; none once it shall not go on.
fn prefill(
    aki: &Aki,
    prompts: &[Prompt],
    len: usize,
    cache: &mut KvCache,
    device: &Device,
    going_on: &dyn Fn() -> bool,
) -> Option<Tensor<3>> {
    let mut ids = vec![0; prompts.len() * len];
    let (mut pixels, mut pictures, mut spans) = (Vec::new(), 0, Vec::new());
    for (row, prompt) in prompts.iter().enumerate() {
        let padding = len - prompt.input_ids.len();
        ids[row * len + padding..(row + 1) * len].copy_from_slice(&prompt.input_ids);
        spans.extend(prompt.spans.iter().map(|span| MediaSpan {
            row,
            tokens: span.tokens.start + padding..span.tokens.end + padding,
            picture: span.picture + pictures,
        }));
        if let Some(of_prompt) = &prompt.pixels {
            pictures += of_prompt.dims()[0];
            pixels.push(of_prompt.clone());
        }
    }
    let mut media = Vec::new();
    if !pixels.is_empty() {
        for some in Tensor::cat(pixels, 0).split(PICTURES, 0) {
            if !going_on() {
                return None;
            }
            media.push(aki.encode(some));
        }
    }
    let media = (!media.is_empty()).then(|| Tensor::cat(media, 0));
    let x_btd = aki.fuse(tensor(&ids, [prompts.len(), len], device), media, &spans);
    let layouts: Vec<&AttentionLayout> = prompts.iter().map(|prompt| &prompt.layout).collect();
    let layout = match layouts[..] {
        // The queries of a prompt's rest are not its keys.
        [alone] => alone.clone(),
        _ => AttentionLayout::left_padded(&layouts),
    };
    aki.forward_while(x_btd, &layout, cache, going_on)
}

/// As [`step`], by a pass over all that stands before it, into a new cache.
fn again(
    aki: &Aki,
    prompts: &[Prompt],
    rows: &mut [Row],
    options: &GenerateOptions,
    cache: &mut KvCache,
    device: &Device,
) -> Tensor<3> {
    let len = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let whole: Vec<Prompt> = rows
        .iter_mut()
        .map(|row| {
            row.start = len - row.ids.len();
            row.position += 1;
            let prompt = &prompts[row.prompt];
            let new = row.ids.len() - prompt.input_ids.len();
            Prompt {
                input_ids: row.ids.clone(),
                layout: prompt.layout.followed_by(new),
                ..prompt.clone()
            }
        })
        .collect();
    *cache = aki.cache(room(len, options));
    prefill(aki, &whole, len, cache, device, &|| true).expect("it goes on")
}

/// The hidden states after each row's newest token, `[rows, 1, hidden]`.
fn step(aki: &Aki, rows: &mut [Row], cache: &mut KvCache, device: &Device) -> Tensor<3> {
    cache.reserve(1);
    let end = cache.len() + 1;
    let seen: Vec<Range<usize>> = rows.iter().map(|row| row.start..end).collect();
    let positions: Vec<u32> = rows.iter().map(|row| row.position).collect();
    let newest: Vec<u32> = rows
        .iter()
        .filter_map(|row| row.ids.last().copied())
        .collect();
    for row in rows.iter_mut() {
        row.position += 1;
    }
    let layout = AttentionLayout::decode(&seen, &positions, cache.capacity());
    let x_btd = aki.fuse(tensor(&newest, [newest.len(), 1], device), None, &[]);
    aki.forward(x_btd, &layout, Some(cache))
}

/// Token ids as the network takes them.
pub(crate) fn tensor(ids: &[u32], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::new(ids, shape), device)
}

/// The logits after the last token of every row, one row after the other.
fn last_logits(aki: &Aki, hidden_btd: Tensor<3>) -> Vec<f32> {
    let [rows, len, width] = hidden_btd.dims();
    let last = hidden_btd
        .slice([0..rows, len - 1..len, 0..width])
        .reshape([rows, width]);
    floats(aki.logits(last))
}

/// The logits of a row's tokens, `[tokens, vocabulary]`, without all of them on the device at once.
fn logits_of(aki: &Aki, hidden_btd: &Tensor<3>, row: usize, tokens: Range<usize>) -> TensorData {
    let width = hidden_btd.dims()[2];
    let mut logits = Vec::new();
    for start in tokens.clone().step_by(LOGIT_ROWS) {
        let end = (start + LOGIT_ROWS).min(tokens.end);
        let part = hidden_btd
            .clone()
            .slice([row..row + 1, start..end, 0..width])
            .reshape([end - start, width]);
        logits.extend(floats(aki.logits(part)));
    }
    let shape = [tokens.len(), logits.len() / tokens.len()];
    TensorData::new(logits, shape)
}

fn floats(logits: Tensor<2>) -> Vec<f32> {
    let logits = logits.cast(FloatDType::F32).into_data();
    logits.try_to_vec().expect("logits were cast to f32")
}
