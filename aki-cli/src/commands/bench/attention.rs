//! `aki bench attention`: the fused engine beside its rivals, taking turns in one process.

use std::io::Write;

use aki_model::attention::{
    AttentionLayout, Document, Engine, Kernels, Policy, mma_attention_with, reference,
};
use anyhow::{Result, anyhow, ensure};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Distribution, FloatDType, Tensor};
use serde_json::json;

use super::{clock, median};
use crate::args::{BenchEngine, BenchShape, Dtype, name_of};

/// The system line in front of the picture.
const BEFORE_IMAGE: usize = 40;

/// Times of one engine, in milliseconds, one a round.
struct Times {
    engine: BenchEngine,
    forward: Vec<f64>,
    both: Vec<f64>,
}

pub fn run(shape: &BenchShape, json: bool) -> Result<()> {
    let (device, device_name) = shape.device.open()?;
    let layout = layout(shape)?;
    let kv_heads = shape.kv_heads.unwrap_or(shape.heads);
    ensure!(
        shape.heads.is_multiple_of(kv_heads),
        "{kv_heads} key/value heads do not divide {} heads",
        shape.heads
    );
    let dtype = match shape.dtype {
        Dtype::F32 => FloatDType::F32,
        Dtype::F16 => FloatDType::F16,
        Dtype::Bf16 => FloatDType::BF16,
    };
    ensure!(
        device.supports_dtype(dtype),
        "{device_name} does not compute in {dtype:?}"
    );
    for &engine in &shape.engines {
        if let Some(engine) = ours(engine) {
            let probe = [shape.batch, shape.heads, 1, shape.head_dim];
            let probe = Tensor::<4>::zeros(probe, (&device, dtype.into()));
            engine
                .serves(&probe)
                .map_err(|why| anyhow!("{device_name}: {why}"))?;
        }
    }
    let with_burn = shape.engines.contains(&BenchEngine::Burn);
    let hidden = with_burn.then(|| reference::hidden(&layout, &device));
    let inputs = || {
        let random = |heads| {
            let shape = [shape.batch, heads, shape.tokens, shape.head_dim];
            Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device).cast(dtype)
        };
        [random(shape.heads), random(kv_heads), random(kv_heads)]
    };

    let mut times: Vec<Times> = shape
        .engines
        .iter()
        .map(|&engine| Times {
            engine,
            forward: Vec::new(),
            both: Vec::new(),
        })
        .collect();
    // The first round warms up and is not counted.
    for round in 0..=shape.runs {
        for times in &mut times {
            let [q, k, v] = inputs();
            let attend = |q, k, v| compute(times.engine, q, k, v, &layout, hidden.as_ref());
            let (q_, k_, v_) = (q.clone(), k.clone(), v.clone());
            let (forward, ()) = clock(&device, || {
                attend(q_, k_, v_);
            })?;
            let [q, k, v] = [q, k, v].map(|x| x.autodiff().require_grad());
            let (both, ()) = clock(&device, || {
                let grads = attend(q.clone(), k.clone(), v.clone()).sum().backward();
                for x in [&q, &k, &v] {
                    x.grad(&grads);
                }
            })?;
            if round > 0 {
                times.forward.push(1e3 * forward);
                times.both.push(1e3 * both);
            }
        }
    }
    let pair_channels = layout.visible_pairs() * shape.heads * shape.head_dim;
    report(&times, pair_channels as f64, json, &device_name)
}

fn compute(
    engine: BenchEngine,
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    layout: &AttentionLayout,
    hidden: Option<&Tensor<4, Bool>>,
) -> Tensor<4> {
    if let Some(engine) = ours(engine) {
        return mma_attention_with(engine, q, k, v, layout);
    }
    let [batch, heads, query_len, _] = q.dims();
    let shape = [batch, heads, query_len, layout.key_len()];
    let hidden = hidden.map(|hidden| hidden.clone().expand(shape));
    let [k, v] = [k, v].map(|x| reference::repeat_heads(x, heads));
    attention(q, k, v, hidden, None, AttentionModuleOptions::default())
}

/// The engine of this project, if it is one.
fn ours(engine: BenchEngine) -> Option<Engine> {
    match engine {
        BenchEngine::Fused => Some(Engine::Fused(Kernels::Auto)),
        BenchEngine::Plain => Some(Engine::Fused(Kernels::Plain)),
        BenchEngine::TensorCore => Some(Engine::Fused(Kernels::TensorCore)),
        BenchEngine::Reference => Some(Engine::Reference),
        BenchEngine::Burn => None,
    }
}

/// A picture behind a system line; half of the text behind it is the question.
fn layout(shape: &BenchShape) -> Result<AttentionLayout> {
    let start = BEFORE_IMAGE;
    let end = start + shape.image_tokens;
    ensure!(
        end <= shape.tokens,
        "{} tokens do not hold the {start} of the system line and {} of an image; raise --tokens or \
         lower --image-tokens",
        shape.tokens,
        shape.image_tokens
    );
    let document = Document {
        tokens: 0..shape.tokens,
        media: if start < end {
            vec![start..end]
        } else {
            vec![]
        },
        question_end: Some(usize::midpoint(end, shape.tokens)),
    };
    let rows = vec![vec![document]; shape.batch];
    Ok(AttentionLayout::from_spans(
        Policy::from(shape.policy),
        shape.tokens,
        &rows,
    )?)
}

fn report(times: &[Times], pair_channels: f64, json: bool, device: &str) -> Result<()> {
    let mut out = std::io::stdout();
    // Two products forward, five backward, two operations a channel of a visible pair each.
    let rate = |products: f64, ms: f64| products * 2.0 * pair_channels / ms / 1e6;
    if json {
        for Times {
            engine,
            forward,
            both,
        } in times
        {
            let line = json!({
                "engine": name_of(*engine),
                "device": device,
                "forward_ms": forward,
                "forward_backward_ms": both,
                "pair_channels": pair_channels,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    writeln!(
        out,
        "{:<12} {:>11} {:>9}   {:>18} {:>9} {:>8}",
        "engine", "forward ms", "GFLOP/s", "with backward ms", "GFLOP/s", "x first"
    )?;
    let first = median(times[0].both.iter().copied());
    for Times {
        engine,
        forward,
        both,
    } in times
    {
        let [forward, both] = [forward, both].map(|times| median(times.iter().copied()));
        writeln!(
            out,
            "{:<12} {forward:>11.2} {:>9.1}   {both:>18.2} {:>9.1} {:>8.2}",
            name_of(*engine),
            rate(2.0, forward),
            rate(7.0, both),
            both / first,
        )?;
    }
    writeln!(
        out,
        "medians of {} rounds on {device}; GFLOP/s count the visible pairs only",
        times[0].both.len()
    )?;
    Ok(())
}
