//! Generation: cached and in batches it gives what whole passes over one prompt give, on the CPU and
//! through WGPU, with and without Fusion.

mod common;
#[path = "common/redraw.rs"]
mod redraw;

use aki_model::attention::{AttentionLayout, Document, Policy, RopeScaling};
use aki_model::generate::{
    Ended, GenerateOptions, Kept, Prompt, Sampler, Sampling, generate, generate_kept,
    generate_scored,
};
use aki_model::{Aki, AkiConfig, MediaSpan};
use burn::tensor::{DType, Device, DeviceKind, DeviceType, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redraw::redrawn;

const VOCABULARY: usize = 22;
const POLICIES: [Policy; 4] = [Policy::Mma, Policy::Causal, Policy::Prefix, Policy::Cca];

/// A prompt as plain data: its text, where its pictures of four tokens stand, the end of its first
/// question.
struct Case {
    ids: Vec<u32>,
    media: Vec<usize>,
    question_end: usize,
    seed: u64,
}

/// A short prompt, one with two pictures and a second turn, one without a picture.
fn cases() -> Vec<Case> {
    let case = |len: usize, media: Vec<usize>, question_end, seed| Case {
        ids: (0..len)
            .map(|i| (i as u32 * 7 + seed as u32) % 20)
            .collect(),
        media,
        question_end,
        seed,
    };
    vec![
        case(9, vec![1], 8, 1),
        case(23, vec![2, 8], 15, 2),
        case(5, vec![], 4, 3),
    ]
}

fn config() -> AkiConfig {
    let mut config = common::tiny();
    config.resampler.as_mut().unwrap().num_latents = 4;
    config
}

/// The same weights on any device, large enough for answers that vary.
fn model(device: &Device) -> Aki {
    model_of(&config(), device)
}

fn model_of(config: &AkiConfig, device: &Device) -> Aki {
    redrawn(config.init(20, device))
}

impl Case {
    fn layout(&self, policy: Policy, len: usize) -> AttentionLayout {
        let document = Document {
            tokens: 0..len,
            media: self.media.iter().map(|&at| at..at + 4).collect(),
            question_end: Some(self.question_end),
        };
        AttentionLayout::from_spans(policy, len, &[vec![document]]).unwrap()
    }

    fn pixels(&self, device: &Device) -> Option<Tensor<4>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let pictures = self.media.len();
        let values: Vec<f32> = (0..pictures * 3 * 12 * 12)
            .map(|_| rng.random_range(-1.0f32..1.0))
            .collect();
        (pictures > 0)
            .then(|| Tensor::from_data(TensorData::new(values, [pictures, 3, 12, 12]), device))
    }

    fn spans(&self) -> Vec<MediaSpan> {
        let spans = self.media.iter().enumerate();
        spans
            .map(|(picture, &at)| MediaSpan {
                row: 0,
                tokens: at..at + 4,
                picture,
            })
            .collect()
    }

    fn prompt(&self, policy: Policy, device: &Device) -> Prompt {
        Prompt {
            input_ids: self.ids.clone(),
            pixels: self.pixels(device),
            spans: self.spans(),
            layout: self.layout(policy, self.ids.len()),
        }
    }

    /// The likeliest tokens one after the other, each by a pass over all that stands before it.
    fn uncached(&self, aki: &Aki, policy: Policy, tokens: usize, device: &Device) -> Vec<u32> {
        let mut text = self.ids.clone();
        for _ in 0..tokens {
            let logits = self.logits(aki, policy, &text, device);
            text.push(argmax(&logits[logits.len() - VOCABULARY..]));
        }
        text.split_off(self.ids.len())
    }

    fn logits(&self, aki: &Aki, policy: Policy, text: &[u32], device: &Device) -> Vec<f32> {
        let ids: Vec<i32> = text.iter().map(|&id| id as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, text.len()]), device);
        let media = self.pixels(device).map(|pixels| aki.encode(pixels));
        let x = aki.fuse(ids, media, &self.spans());
        let hidden = aki.forward(x, &self.layout(policy, text.len()), None);
        let logits = aki.logits(hidden.reshape([text.len(), 24]));
        logits.into_data().try_to_vec().unwrap()
    }
}

/// Texts that become long while they are answered are sent through the network anew.
#[test]
fn answers_that_cross_longropes_limit_are_the_uncached_ones() {
    let device = Device::flex();
    let mut config = config();
    config.language.rope_scaling = Some(RopeScaling::LongRope {
        short_factor: vec![1.0, 1.1, 1.3],
        long_factor: vec![1.5, 4.0, 9.0],
        original_max_position_embeddings: 14,
        attention_factor: 1.2,
    });
    let aki = model_of(&config, &device);
    // Of 9, 23 and 5 tokens: one crosses, one is long from the start, one crosses later.
    let cases = cases();
    let prompts: Vec<Prompt> = cases
        .iter()
        .map(|case| case.prompt(Policy::Mma, &device))
        .collect();
    let mut samplers = greedy(prompts.len());
    let generation = generate(&aki, &prompts, &mut samplers, &tokens(16), |_, _| true);
    for (case, answer) in cases.iter().zip(generation.answers) {
        let expected = case.uncached(&aki, Policy::Mma, 16, &device);
        assert_eq!(answer.token_ids, expected, "{} tokens", case.ids.len());
    }
}

fn greedy(count: usize) -> Vec<Sampler> {
    let sampler = || Sampler::new(Sampling::default());
    std::iter::repeat_with(sampler).take(count).collect()
}

fn tokens(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        ..GenerateOptions::default()
    }
}

/// The lowest of the likeliest ids.
fn argmax(logits: &[f32]) -> u32 {
    let ids = logits.iter().enumerate().rev();
    ids.max_by(|one, two| one.1.total_cmp(two.1)).unwrap().0 as u32
}

/// Batches, single prompts and passes without a cache agree.
fn check(device: &Device, count: usize, policies: &[Policy]) {
    let aki = model(device);
    let cases = cases();
    for &policy in policies {
        let prompts: Vec<Prompt> = cases.iter().map(|c| c.prompt(policy, device)).collect();
        let together = generate(&aki, &prompts, &mut greedy(3), &tokens(count), |_, _| true);
        for (at, case) in cases.iter().enumerate() {
            let answer = &together.answers[at];
            assert_eq!(answer.ended, Ended::Length);
            let expected = case.uncached(&aki, policy, count, device);
            assert_eq!(answer.token_ids, expected, "{policy:?}, prompt {at}");
            let alone = generate(
                &aki,
                &prompts[at..=at],
                &mut greedy(1),
                &tokens(count),
                |_, _| true,
            );
            assert_eq!(
                alone.answers[0].token_ids, expected,
                "{policy:?}, {at} alone"
            );
        }
    }
}

#[test]
fn cached_decoding_gives_what_whole_passes_give() {
    check(&Device::flex(), 24, &POLICIES);
}

/// Mesa's software driver will do.
fn gpu() -> Option<Device> {
    if Device::enumerate(DeviceType::Wgpu).into_vec().is_empty() {
        eprintln!("skipped: no WGPU adapter; install a Vulkan driver such as mesa-vulkan-drivers");
        return None;
    }
    Some(Device::wgpu(DeviceKind::DefaultDevice))
}

/// As [`model`], in f16.
fn half_model(device: &Device) -> Aki {
    struct Half;
    impl burn::module::ModuleMapper for Half {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F16))
        }
    }
    burn::module::Module::map(model(device), &mut Half)
}

#[test]
fn wgpu_answers_as_the_cpu_does() {
    let Some(gpu) = gpu() else { return };
    let devices = [Device::flex(), gpu];
    let models = devices.each_ref().map(model);
    for policy in [Policy::Mma, Policy::Cca] {
        let [(cpu, _), (together, alone)] = [0, 1].map(|at| {
            let (aki, device) = (&models[at], &devices[at]);
            let prompts: Vec<Prompt> = cases().iter().map(|c| c.prompt(policy, device)).collect();
            let answers = |prompts: &[Prompt]| -> Vec<Vec<u32>> {
                let mut samplers = greedy(prompts.len());
                let generation = generate(aki, prompts, &mut samplers, &tokens(24), |_, _| true);
                let answers = generation.answers.into_iter();
                answers.map(|answer| answer.token_ids).collect()
            };
            // Alone, the shortest: no padding.
            (answers(&prompts), answers(&prompts[2..]))
        });
        assert_eq!(together, cpu, "{policy:?}");
        assert_eq!(alone, cpu[2..], "{policy:?}, alone");
    }
}

/// Logits of prompts of unequal lengths, and of what is decoded behind them.
#[test]
fn half_precision_on_wgpu_is_off_by_no_more_than_twice_the_cpus() {
    let Some(gpu) = gpu() else { return };
    let cpu = Device::flex();
    let options = GenerateOptions {
        prompt_logits: true,
        ..tokens(1)
    };
    let [truth, on_cpu, on_gpu] = [
        (model(&cpu), &cpu),
        (half_model(&cpu), &cpu),
        (half_model(&gpu), &gpu),
    ]
    .map(|(aki, device)| {
        let prompts: Vec<Prompt> = cases()
            .iter()
            .map(|c| c.prompt(Policy::Mma, device))
            .collect();
        let generation = generate(&aki, &prompts, &mut greedy(3), &options, |_, _| true);
        let answers = generation.answers.into_iter();
        let logits = answers.filter_map(|answer| answer.prompt_logits);
        logits
            .flat_map(|logits| logits.iter::<f32>().collect::<Vec<_>>())
            .collect::<Vec<f32>>()
    });
    let apart = |ours: &[f32]| {
        assert_eq!(ours.len(), truth.len());
        let off = ours.iter().zip(&truth).map(|(a, b)| (a - b).powi(2));
        let all: f32 = truth.iter().map(|x| x * x).sum();
        (off.sum::<f32>() / all).sqrt()
    };
    let (theirs, ours) = (apart(&on_cpu), apart(&on_gpu));
    assert!(ours <= 2.0 * theirs, "{ours}, on the CPU {theirs}");
    assert!(theirs < 0.02, "{theirs}");
}

/// A row that stops leaves the batch, and the others go on as if it had not been there.
#[test]
fn rows_stop_each_for_its_own_reason() {
    let device = Device::flex();
    let aki = model(&device);
    let cases = cases();
    let expected: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| case.uncached(&aki, Policy::Mma, 9, &device))
        .collect();
    let prompts: Vec<Prompt> = cases
        .iter()
        .map(|case| case.prompt(Policy::Mma, &device))
        .collect();
    // A token of the first answer that stops no other one.
    let alone = |id: &u32| !expected[1].contains(id) && !expected[2][..3].contains(id);
    let mut first = expected[0].iter().copied().enumerate();
    let (stops_at, stop) = first.find(|(_, id)| alone(id)).expect("answers differ");
    let options = GenerateOptions {
        stop: vec![stop],
        ..tokens(9)
    };
    let mut heard = vec![Vec::new(); 3];
    let generation = generate(&aki, &prompts, &mut greedy(3), &options, |prompt, id| {
        heard[prompt].push(id);
        prompt != 2 || heard[2].len() < 3
    });
    let found: Vec<_> = generation
        .answers
        .iter()
        .map(|answer| (answer.token_ids.as_slice(), answer.ended))
        .collect();
    assert_eq!(
        found,
        [
            (&expected[0][..stops_at], Ended::Stop(stop)),
            (&expected[1][..], Ended::Length),
            (&expected[2][..3], Ended::Caller),
        ]
    );
    assert!(
        heard
            .iter()
            .zip(&found)
            .all(|(heard, found)| heard == found.0)
    );
}

#[test]
fn each_row_draws_from_its_own_stream() {
    let sampler = |seed| {
        Sampler::new(Sampling {
            temperature: 1.5,
            repetition_penalty: 1.2,
            top_k: 12,
            top_p: 0.95,
            min_p: 0.01,
            seed,
        })
    };
    are_those_of_separate_calls(sampler, 1);
}

#[test]
fn several_answers_to_a_prompt_are_those_of_separate_calls() {
    let sampler = |seed| {
        Sampler::new(Sampling {
            temperature: 1.5,
            seed,
            ..Sampling::default()
        })
    };
    are_those_of_separate_calls(sampler, 3);
}

/// That answers to all cases together, `each` a prompt, are those of separate calls with the same seeds.
fn are_those_of_separate_calls(sampler: impl Fn(u64) -> Sampler, each: usize) {
    let device = Device::flex();
    let aki = model(&device);
    let prompts: Vec<Prompt> = cases()
        .iter()
        .map(|case| case.prompt(Policy::Mma, &device))
        .collect();
    let answers = prompts.len() * each;
    let mut samplers: Vec<Sampler> = (0..answers as u64).map(&sampler).collect();
    let together = generate(&aki, &prompts, &mut samplers, &tokens(12), |_, _| true);
    for at in 0..answers {
        let alone = generate(
            &aki,
            &prompts[at / each..=at / each],
            &mut [sampler(at as u64)],
            &tokens(12),
            |_, _| true,
        );
        assert_eq!(alone.answers[0].token_ids, together.answers[at].token_ids);
    }
}

/// A turn after another with one more picture: nothing of the first is computed again, and what is answered is
/// what it is without.
#[test]
fn a_turn_computes_only_what_is_new() {
    for policy in POLICIES {
        turns(policy, &Device::flex());
    }
    if let Some(gpu) = gpu() {
        turns(Policy::Mma, &gpu);
    }
}

fn turns(policy: Policy, device: &Device) {
    let aki = model(device);
    let mut kept = Kept::default();
    let ask = |case: &Case, kept: &mut Kept| {
        let prompt = case.prompt(policy, device);
        let expected = generate(
            &aki,
            std::slice::from_ref(&prompt),
            &mut greedy(1),
            &tokens(6),
            |_, _| true,
        );
        let sampler = &mut greedy(1)[0];
        let found = generate_kept(&aki, kept, prompt, sampler, &tokens(6), &|| true, |_| true);
        let ids = found.answers[0].token_ids.clone();
        assert_eq!(ids, expected.answers[0].token_ids, "{policy:?}");
        (ids, found.known)
    };
    let first = cases().swap_remove(1);
    let len = first.ids.len();
    let (answer, known) = ask(&first, &mut kept);
    assert_eq!(known, 0);
    let next = |first: Case, new: &[u32]| Case {
        ids: [&first.ids[..], &answer, new].concat(),
        media: [&first.media[..], &[len + 8]].concat(),
        ..first
    };
    // The answer's last token was never read.
    let second = next(first, &[3; 9]);
    assert_eq!(ask(&second, &mut kept).1, len + 5, "{policy:?}");
    // The same again: the last token alone is computed.
    let len = second.ids.len();
    assert_eq!(ask(&second, &mut kept).1, len - 1, "{policy:?}");
    // The first picture is another one; then the question ends elsewhere, which pictures see under some rules.
    let other = Case { seed: 9, ..second };
    let before_pictures = if policy == Policy::Prefix { 0 } else { 2 };
    assert_eq!(ask(&other, &mut kept).1, before_pictures, "{policy:?}");
    let later = Case {
        question_end: other.question_end + 1,
        ..other
    };
    let known = match policy {
        Policy::Causal | Policy::Cca => len - 1,
        _ => before_pictures,
    };
    assert_eq!(ask(&later, &mut kept).1, known, "{policy:?}");
    // Given up in the midst of it, what was known still is.
    let prompt = later.prompt(policy, device);
    let (sampler, options) = (&mut greedy(1)[0], tokens(1));
    generate_kept(
        &aki,
        &mut kept,
        prompt,
        sampler,
        &options,
        &|| false,
        |_| true,
    );
    assert_eq!(ask(&later, &mut kept).1, len - 1, "{policy:?}");
}

#[test]
fn a_prompt_is_given_up_between_layers() {
    let device = Device::flex();
    let aki = model(&device);
    let prompts = [cases()[1].prompt(Policy::Mma, &device)];
    let mut samplers = greedy(2);
    // Before the pictures and before each layer.
    for most in 0..2 {
        let asked = std::cell::Cell::new(0);
        let going_on = || asked.replace(asked.get() + 1) < most;
        let no_token = |_, _, _| -> bool { panic!("a token came") };
        let options = tokens(3);
        let given_up = generate_scored(
            &aki,
            &prompts,
            &mut samplers,
            &options,
            None,
            &going_on,
            no_token,
        );
        assert_eq!(asked.get(), most + 1);
        assert_eq!(given_up.answers.len(), 2);
        for answer in given_up.answers {
            assert_eq!((answer.ended, answer.token_ids), (Ended::Caller, vec![]));
        }
    }
}

/// Those of each prompt, without its padding, and also if nothing is to be generated.
#[test]
fn logits_of_the_prompt() {
    let device = Device::flex();
    let aki = model(&device);
    let cases = cases();
    let prompts: Vec<Prompt> = cases
        .iter()
        .map(|case| case.prompt(Policy::Mma, &device))
        .collect();
    let options = GenerateOptions {
        prompt_logits: true,
        ..tokens(0)
    };
    let generation = generate(&aki, &prompts, &mut greedy(3), &options, |_, _| true);
    for (case, answer) in cases.iter().zip(&generation.answers) {
        assert!(answer.token_ids.is_empty());
        let logits = answer.prompt_logits.as_ref().unwrap();
        assert_eq!(logits.shape().as_slice(), [case.ids.len(), VOCABULARY]);
        let logits: Vec<f32> = logits.try_to_vec().unwrap();
        let expected = case.logits(&aki, Policy::Mma, &case.ids, &device);
        for (a, b) in logits.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

/// A cache that is asked to hold more than it was made for, in chunks of a prompt.
#[test]
fn a_cache_grows() {
    let device = Device::flex();
    let aki = model(&device);
    let case = &cases()[1];
    let len = case.ids.len();
    let ids: Vec<i32> = case.ids.iter().map(|&id| id as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, len]), &device);
    let x = aki.fuse(
        ids,
        case.pixels(&device).map(|p| aki.encode(p)),
        &case.spans(),
    );
    let layout = case.layout(Policy::Causal, len);
    let whole = aki.forward(x.clone(), &layout, None);
    let mut cache = aki.cache(3);
    for (start, end) in [(0, 3), (3, 4), (4, 17), (17, len)] {
        let part = x.clone().slice([0..1, start..end, 0..24]);
        let document = Document {
            tokens: 0..end,
            media: vec![],
            question_end: None,
        };
        let layout = AttentionLayout::from_spans(Policy::Causal, end, &[vec![document]]).unwrap();
        let found = aki.forward(part, &layout.queries(start..end), Some(&mut cache));
        assert_eq!(cache.len(), end);
        let expected = whole.clone().slice([0..1, start..end, 0..24]);
        let off: f32 = (found - expected).abs().max().into_scalar();
        assert!(off < 1e-4, "{off}");
    }
    assert!(cache.capacity() >= len);
}
