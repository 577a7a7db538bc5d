//! How remote stores are read, and what is done when one fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How remote shards are read. It decides nothing about the order of their samples as
/// long as all can be read.
///
/// A shard that cannot be read to its end, in spite of all attempts, is either the
/// end of the stream or loses the samples behind that place. These are then missing
/// from the pass, so the draws after them are others than in a run in which the
/// store did not fail. A stream's state holds where a shard was given up: resuming
/// goes on as the run would have, whether or not the store has recovered, and what
/// was lost stays lost until the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteConfig {
    /// How often and when a store is tried again.
    pub retry: Retry,
    /// A store from which nothing comes for so long has failed. In seconds where it is
    /// written down.
    #[serde(with = "seconds")]
    pub idle: Duration,
    /// What to do about a shard that cannot be read in spite of that.
    pub on_failure: RemoteFailure,
}

/// When to try again what a store did not do: it cannot be reached, broke off, fell
/// silent, or answered 408, 429 or 5xx. Whatever else it answers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in a row in which nothing comes; at least one is made.
    pub attempts: u32,
    /// What is waited before the second attempt, and twice as much before each
    /// further one. In seconds where it is written down.
    #[serde(with = "seconds")]
    pub first_wait: Duration,
    /// It is never longer than this. In seconds where it is written down.
    #[serde(with = "seconds")]
    pub longest_wait: Duration,
}

/// What to do about a remote shard that cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteFailure {
    /// Its rest is skipped, and counts as one broken sample
    /// ([`SkipReason::Remote`](super::super::SkipReason::Remote)).
    Skip,
    /// The stream ends with [`DataError::Remote`](crate::DataError::Remote). It can be
    /// resumed behind any sample that it gave.
    Stop,
}

impl Default for RemoteConfig {
    /// A minute of silence is a failure; shards that fail for good are skipped.
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            idle: Duration::from_mins(1),
            on_failure: RemoteFailure::Skip,
        }
    }
}

impl Default for Retry {
    /// Eight attempts, with waits of 1, 2, 4, 8, 16, 30 and 30 seconds between them:
    /// a store may be gone for a minute and a half.
    fn default() -> Self {
        Self {
            attempts: 8,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Retry {
    /// What to wait after so many failed attempts, from 1.
    #[cfg_attr(not(any(feature = "remote", test)), expect(dead_code))]
    pub(super) fn wait(&self, failed: u32) -> Duration {
        let times = 2_u32.saturating_pow(failed.saturating_sub(1));
        self.first_wait.saturating_mul(times).min(self.longest_wait)
    }
}

/// A duration as a number of seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(it.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(|error| {
            serde::de::Error::custom(format!("{seconds} is no number of seconds: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry::default();
        let waits: Vec<_> = (1..8).map(|failed| retry.wait(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(retry.wait(u32::MAX), retry.longest_wait);
        let long = Retry {
            first_wait: Duration::MAX,
            ..retry
        };
        assert_eq!(long.wait(40), retry.longest_wait);
    }

    #[test]
    fn it_is_written_in_seconds() {
        let text = r#"{"retry": {"attempts": 3, "first_wait": 0.5, "longest_wait": 8},
            "idle": 20, "on_failure": "stop"}"#;
        let read: RemoteConfig = serde_json::from_str(text).expect("a configuration");
        let expected = RemoteConfig {
            retry: Retry {
                attempts: 3,
                first_wait: Duration::from_millis(500),
                longest_wait: Duration::from_secs(8),
            },
            idle: Duration::from_secs(20),
            on_failure: RemoteFailure::Stop,
        };
        assert_eq!(read, expected);
        let written = serde_json::to_string(&read).expect("data");
        assert_eq!(
            serde_json::from_str::<RemoteConfig>(&written).expect("the same"),
            read
        );
        let part = r#"{"retry": {"attempts": 3}, "on_failure": "stop"}"#;
        let part: RemoteConfig = serde_json::from_str(part).expect("the rest is the default");
        let expected = RemoteConfig {
            retry: Retry {
                attempts: 3,
                ..Retry::default()
            },
            on_failure: RemoteFailure::Stop,
            ..RemoteConfig::default()
        };
        assert_eq!(part, expected);
        assert!(serde_json::from_str::<RemoteConfig>(r#"{"retries": 3}"#).is_err());
        for wrong in ["-1", "1e30"] {
            let text = text.replace("20", wrong);
            assert!(
                serde_json::from_str::<RemoteConfig>(&text).is_err(),
                "{wrong}"
            );
        }
    }
}
