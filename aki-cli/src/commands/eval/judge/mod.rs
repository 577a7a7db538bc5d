//! Answers judged by a model behind an OpenAI-compatible address.

mod cache;
mod client;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aki_data::benchmark::Benchmark;
use aki_train::benchmark::{Answered, Judgement, share};
use aki_train::progress::Progress;
use anyhow::Result;
use burn::train::Interrupter;

use self::cache::Cache;
use self::client::{Caller, Reply};
use crate::args::JudgeArgs;

/// Calls at a time.
const THREADS: usize = 4;

/// A reply that cannot be read is asked for again, less strictly each time.
const TEMPERATURES: [f64; 3] = [0.0, 0.5, 1.0];

/// A judge, and what its tokens cost.
pub struct Judge {
    caller: Caller,
    price: Option<[f64; 2]>,
}

/// What judging took.
#[derive(Default)]
struct Usage {
    asked: AtomicU64,
    cached: AtomicU64,
    unreadable: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Judge {
    /// That of the command line, if one is named there.
    pub fn new(args: &JudgeArgs) -> Result<Option<Self>> {
        let named = args.url.as_deref().zip(args.model.as_deref());
        let judge = named.map(|(url, model)| -> Result<Self> {
            Ok(Self {
                caller: Caller::new(url, model)?,
                price: args.price,
            })
        });
        judge.transpose()
    }

    /// Has answers judged, some at a time, and marks them. What was said before is taken from
    /// `judge-cache.jsonl` in `folder`. False if it was stopped.
    pub fn judge(
        &self,
        benchmark: Benchmark,
        folder: &Path,
        mut rows: Vec<&mut Answered>,
        interrupter: &Interrupter,
    ) -> Result<bool> {
        rows.retain(|row| row.is_for_judge(benchmark));
        let (cache, usage) = (Cache::open(folder)?, Usage::default());
        let progress = Progress::new("judging", Some(rows.len() as u64), "answers");
        let work = |(): &mut (), row: &mut Answered, stopped: &dyn Fn() -> bool| -> Result<()> {
            self.row(row, &cache, &usage, stopped)?;
            row.mark_again(benchmark);
            progress.inc(1);
            Ok(())
        };
        let stop = || interrupter.should_stop();
        let result = share(&mut [(); THREADS], rows.into_iter(), stop, work);
        progress.finish();
        self.tell(benchmark, &usage);
        result?;
        Ok(!interrupter.should_stop())
    }

    /// Has one answer judged, if there is need.
    fn row(
        &self,
        row: &mut Answered,
        cache: &Cache,
        usage: &Usage,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        row.judgement = None;
        let Some(messages) = row.question.judge_prompt(row.answer()) else {
            return Ok(());
        };
        let messages = Caller::messages(&messages);
        let model = &self.caller.model;
        let key = Cache::key(model, &messages);
        let judgement = |reply: &Reply| Judgement {
            model: model.clone(),
            reply: reply.text.clone(),
        };
        if let Some(reply) = cache.get(&key) {
            usage.cached.fetch_add(1, Ordering::Relaxed);
            row.judgement = Some(judgement(&reply));
            return Ok(());
        }
        for temperature in TEMPERATURES {
            let Some(reply) = self.caller.call(&messages, temperature, stopped)? else {
                return Ok(());
            };
            usage.add(&reply);
            if row.question.read_judgement(&reply.text).is_some() {
                cache.keep(key, model, &reply)?;
                row.judgement = Some(judgement(&reply));
                return Ok(());
            }
        }
        usage.unreadable.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn tell(&self, benchmark: Benchmark, usage: &Usage) {
        let [asked, cached, unreadable, prompt, completion] = [
            &usage.asked,
            &usage.cached,
            &usage.unreadable,
            &usage.prompt_tokens,
            &usage.completion_tokens,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        let cost = self.price.map_or_else(String::new, |[input, output]| {
            let cost = (prompt as f64 * input + completion as f64 * output) / 1e6;
            format!(", {cost:.4} at the price given")
        });
        eprintln!(
            "{}: {} was asked {asked} times, {cached} replies were there already; {prompt} tokens to it, {completion} of it{cost}",
            benchmark.name(),
            self.caller.model
        );
        if unreadable > 0 {
            eprintln!(
                "warning: {unreadable} replies of the judge could not be read, and those answers have no mark; the same command asks again"
            );
        }
    }
}

impl Usage {
    fn add(&self, reply: &Reply) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.prompt_tokens
            .fetch_add(reply.prompt_tokens, Ordering::Relaxed);
        self.completion_tokens
            .fetch_add(reply.completion_tokens, Ordering::Relaxed);
    }
}
