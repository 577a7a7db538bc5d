//! Answers judged by a model behind an OpenAI-compatible address.

mod address;
mod cache;
mod client;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aki_data::benchmark::Benchmark;
use aki_train::benchmark::{Answered, Judgement, share};
use aki_train::progress::Progress;
use anyhow::{Result, ensure};
use burn::train::Interrupter;
use serde_json::Value;

use self::cache::Cache;
use self::client::{Caller, Outcome, Reply};
use crate::args::JudgeArgs;

/// Calls at a time.
const THREADS: usize = 4;

/// A reply that cannot be read is asked for again, less strictly each time.
const TEMPERATURES: [f64; 3] = [0.0, 0.5, 1.0];

/// A judge that refuses so many answers, and has replied to none, refuses the way it is asked.
const REFUSALS: u64 = 3;

/// A judge, and what its tokens cost.
pub struct Judge {
    caller: Caller,
    price: Option<[f64; 2]>,
    /// Whether it has ever replied.
    replies: AtomicBool,
}

/// What judging took.
#[derive(Default)]
struct Usage {
    asked: AtomicU64,
    cached: AtomicU64,
    unreadable: AtomicU64,
    refused: AtomicU64,
    /// Why the first was refused.
    why: OnceLock<String>,
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
                replies: AtomicBool::new(false),
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
        // A kept reply shows that it does take what is asked, should only refused answers be left.
        let is_kept = |row: &&mut Answered| {
            let prompt = self.prompt(row);
            prompt.is_some_and(|(_, key)| cache.get(&key).is_some())
        };
        self.replies
            .fetch_or(rows.iter().any(is_kept), Ordering::Relaxed);
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

    /// What is asked about an answer, and by what the reply is kept; none if there is no need.
    fn prompt(&self, row: &Answered) -> Option<(Value, String)> {
        let messages = Caller::messages(&row.question.judge_prompt(row.answer())?);
        let key = Cache::key(&self.caller.url, &self.caller.model, &messages);
        Some((messages, key))
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
        let Some((messages, key)) = self.prompt(row) else {
            return Ok(());
        };
        let model = &self.caller.model;
        let judgement = |reply: &Reply| Judgement {
            model: model.clone(),
            url: self.caller.url.to_string(),
            reply: reply.text.clone(),
        };
        if let Some(reply) = cache.get(&key) {
            usage.cached.fetch_add(1, Ordering::Relaxed);
            row.judgement = Some(judgement(&reply));
            return Ok(());
        }
        for temperature in TEMPERATURES {
            let reply = match self.caller.call(&messages, temperature, stopped)? {
                Outcome::Said(reply) => reply,
                Outcome::Refused(why) => return self.refused(why, usage),
                Outcome::Stopped => return Ok(()),
            };
            self.replies.store(true, Ordering::Relaxed);
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

    /// Counts an answer that the judge refuses to mark.
    fn refused(&self, why: String, usage: &Usage) -> Result<()> {
        let count = usage.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let why = usage.why.get_or_init(|| why);
        ensure!(
            count < REFUSALS || self.replies.load(Ordering::Relaxed),
            "the judge at {} refuses all that it is asked: {why}",
            self.caller.url
        );
        Ok(())
    }

    fn tell(&self, benchmark: Benchmark, usage: &Usage) {
        let [asked, cached, unreadable, refused, prompt, completion] = [
            &usage.asked,
            &usage.cached,
            &usage.unreadable,
            &usage.refused,
            &usage.prompt_tokens,
            &usage.completion_tokens,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        let cost = self.price.map_or_else(String::new, |[input, output]| {
            let cost = (prompt as f64 * input + completion as f64 * output) / 1e6;
            format!(", {cost:.4} at the price given")
        });
        let (name, model) = (benchmark.name(), &self.caller.model);
        say!(
            "{name}: {model} was asked {asked} times, {cached} replies were there already; {prompt} tokens to it, {completion} of it{cost}"
        );
        if self.caller.takes_no_temperature() {
            say!("{name}: {model} takes no temperature and is asked without");
        }
        if unreadable > 0 {
            say!(
                "warning: {unreadable} replies of the judge could not be read, and those answers have no mark; the same command asks again"
            );
        }
        if let Some(why) = usage.why.get() {
            say!(
                "warning: the judge refused to mark {refused} answers, which have no mark; the same command asks again; the first was refused with {why}"
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
