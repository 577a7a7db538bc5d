//! `aki bench generate`: prefill and decoding of a model, and decoding's share of what memory gives.

use std::io::Write;
use std::time::Instant;

use aki_model::AkiConfig;
use aki_model::attention::{AttentionLayout, Document, Policy};
use aki_model::generate::{GenerateOptions, Prompt, Sampler, Sampling, generate};
use aki_model::language::LanguageConfig;
use aki_model::resampler::ResamplerConfig;
use aki_model::vision::VisionConfig;
use aki_model::weights::{Bits, Checkpoint, Conversion, Parameter, Quantization, Quantize, load};
use aki_train::folder::ModelFolder;
use anyhow::{Result, ensure};
use burn::tensor::{DType, Device};
use rayon::prelude::*;
use serde_json::json;

use super::median;
use crate::args::{BenchGenerate, name_of};

pub fn run(args: &BenchGenerate, as_json: bool) -> Result<()> {
    let (device, device_name) = args.device.open()?;
    let dtype: DType = args.dtype.into();
    let (aki, config, held, vocabulary) = if let Some(folder) = &args.model {
        let model = ModelFolder::load(folder, Some(dtype), &device)?;
        model.check_length("prompt and answer", args.prompt + args.new_tokens)?;
        let held = model.config.parameters();
        let vocabulary = model.tokenizer.base_vocab();
        (model.aki, model.config.model, held, vocabulary)
    } else {
        let config = drawn(args)?;
        let how = args.bits.map(|bits| Quantization::new(bits.into()));
        let held = match &how {
            Some(how) => config.packed_parameters(how),
            None => config.parameters(),
        };
        let aki = model(&config, how.as_ref(), dtype, &device)?;
        let vocabulary = config.language.vocab_size;
        (aki, config, held, vocabulary)
    };
    let len = args.prompt;
    let prompts = vec![prompt(len, vocabulary)?; args.batch];
    let round = |max_new_tokens: usize| {
        let options = GenerateOptions {
            max_new_tokens,
            ..GenerateOptions::default()
        };
        let greedy = || Sampler::new(Sampling::default());
        let mut samplers: Vec<_> = (0..args.batch).map(|_| greedy()).collect();
        let generation = generate(&aki, &prompts, &mut samplers, &options, |_, _| true);
        let decode = generation.decode.as_secs_f64() / (max_new_tokens - 1) as f64;
        (generation.prefill.as_secs_f64(), decode)
    };
    // Warms up.
    round(2);
    let (prefill, decode): (Vec<f64>, Vec<f64>) =
        (0..args.runs).map(|_| round(args.new_tokens)).unzip();
    let [prefill, decode] = [prefill, decode].map(median);
    let (weights, bytes) = read_a_token(&config, &held, dtype);
    let rate = bytes as f64 / decode;
    let memory = bandwidth();
    let rows = args.batch as f64;
    let mut out = std::io::stdout();
    if as_json {
        let object = json!({
            "device": device_name,
            "dtype": name_of(args.dtype),
            "bits": args.bits.map(|bits| Bits::from(bits).count()),
            "weights_read": weights,
            "prefill_seconds": prefill,
            "decode_seconds_per_token": decode,
            "bytes_per_second": rate,
            "memory_bytes_per_second": memory,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{device_name}, {}{}, {:.0} M weights read a token, batch {}, prompt {len}, medians of {} rounds",
        name_of(args.dtype),
        args.bits
            .map(|bits| format!(", matrices in {} bits", Bits::from(bits).count()))
            .unwrap_or_default(),
        weights as f64 / 1e6,
        args.batch,
        args.runs
    )?;
    writeln!(
        out,
        "prefill {:>10.1} tokens/s, {prefill:.3} s to the first token",
        rows * len as f64 / prefill
    )?;
    write!(
        out,
        "decode  {:>10.1} tokens/s, {:.1} GB/s of weights",
        rows / decode,
        rate / 1e9
    )?;
    match device_name.as_str() {
        "cpu" => writeln!(out, ", {:.0} % of what memory gives", 100.0 * rate / memory)?,
        _ => writeln!(out)?,
    }
    Ok(())
}

/// The weights that a token reads, and their bytes as they are `held`: all of the language model but the
/// embedding, of which it looks up a row.
fn read_a_token(config: &AkiConfig, held: &[Parameter], dtype: DType) -> (usize, usize) {
    let tied = config.language.tie_word_embeddings;
    let is_read = |parameter: &&Parameter| {
        let embedding = parameter.path.contains("embed_tokens") && !tied;
        parameter.path.starts_with("lang_model.") && !embedding
    };
    let plain = config.parameters();
    let weights = plain.iter().filter(is_read).map(Parameter::len);
    let bytes = held.iter().filter(is_read).map(|it| it.bytes(dtype));
    (weights.sum(), bytes.sum())
}

/// A text of any tokens.
fn prompt(len: usize, vocabulary: usize) -> Result<Prompt> {
    let document = Document {
        tokens: 0..len,
        ..Document::default()
    };
    Ok(Prompt {
        input_ids: (0..len).map(|at| (at * 7919 % vocabulary) as u32).collect(),
        pixels: None,
        spans: vec![],
        layout: AttentionLayout::from_spans(Policy::Mma, len, &[vec![document]])?,
    })
}

/// A preset's shape, or a language model of the shape asked for, with as little as possible beside it.
fn drawn(args: &BenchGenerate) -> Result<AkiConfig> {
    if let Some(name) = &args.preset {
        return super::super::preset(name);
    }
    let language = LanguageConfig {
        added_tokens: 2,
        vocab_size: args.vocab,
        hidden_size: args.hidden,
        intermediate_size: args.intermediate,
        num_hidden_layers: args.layers,
        num_attention_heads: args.heads,
        num_key_value_heads: args.kv_heads.unwrap_or(args.heads),
        rope_scaling: None,
        max_position_embeddings: None,
        ..AkiConfig::preset("aki-4b").map_or_else(|| unreachable!("a preset"), |it| it.language)
    };
    let config = AkiConfig {
        vision: VisionConfig {
            image_size: 16,
            hidden_size: 16,
            intermediate_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            vision_use_head: false,
            ..AkiConfig::preset("aki-4b").map_or_else(|| unreachable!("a preset"), |it| it.vision)
        },
        resampler: Some(ResamplerConfig {
            depth: 0,
            num_latents: 1,
            ..ResamplerConfig::default()
        }),
        projector: None,
        language,
    };
    let fault = config.validate(args.vocab, args.vocab + 2).err();
    ensure!(fault.is_none(), "{}", fault.unwrap_or_default());
    Ok(config)
}

/// Draws weights to disk, packs them there if asked to, and reads them as a checkpoint's are read, since
/// how they lie in memory decides how fast they are used.
fn model(
    config: &AkiConfig,
    how: Option<&Quantization>,
    dtype: DType,
    device: &Device,
) -> Result<aki_model::Aki> {
    let [plain, packed] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let conversion = Conversion {
        config,
        source: None,
        new_parts: true,
        dtype: Some(dtype),
        shard_size: None,
        seed: 1,
    };
    conversion.write(plain.path())?;
    let undrawn = config.undrawn(config.language.vocab_size, device);
    let plain = Checkpoint::open(plain.path())?;
    let Some(&how) = how else {
        return Ok(load(undrawn, &plain, None)?);
    };
    let quantize = Quantize {
        config,
        source: &plain,
        how,
        shard_size: None,
    };
    quantize.write(packed.path())?;
    let packed = Checkpoint::open(packed.path())?;
    Ok(load(undrawn.packed(&how), &packed, None)?)
}

/// Places that a thread reads from in turn: one stream alone waits for memory more than it reads.
const STREAMS: usize = 8;

/// Bytes a second that all threads together read: the best of some sums over 1 GiB.
fn bandwidth() -> f64 {
    let data = vec![1_u64; 1 << 27];
    let sum = |chunk: &[u64]| {
        let mut streams = chunk.chunks_exact(chunk.len() / STREAMS);
        let streams: [&[u64]; STREAMS] =
            std::array::from_fn(|_| streams.next().unwrap_or_default());
        let mut sums = [[0_u64; 8]; STREAMS];
        for at in (0..streams[0].len()).step_by(8) {
            for (sums, stream) in sums.iter_mut().zip(streams) {
                for (sum, number) in sums.iter_mut().zip(&stream[at..at + 8]) {
                    *sum = sum.wrapping_add(*number);
                }
            }
        }
        sums.into_iter().flatten().fold(0, u64::wrapping_add)
    };
    let read = |_| {
        let begun = Instant::now();
        let sums = data.par_chunks_exact(1 << 21).map(sum);
        std::hint::black_box(sums.reduce(|| 0, u64::wrapping_add));
        (data.len() * size_of::<u64>()) as f64 / begun.elapsed().as_secs_f64()
    };
    (0..5).map(read).fold(0.0, f64::max)
}
