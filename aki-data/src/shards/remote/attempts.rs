//! What to do about a store that fails: try again, or not.

use object_store::Error;
use object_store::client::HttpError;

use super::config::Retry;
use super::error::RemoteError;

/// Characters of a store's own explanation, which is a sentence or two.
const MAX_TOLD: usize = 300;

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: String,
    /// Whether another attempt may do better.
    passing: bool,
    /// Whether the store says that there is no such object, or shows none.
    missing: bool,
}

impl Failure {
    pub(super) fn passing(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            passing: true,
            missing: false,
        }
    }

    pub(super) fn lasting(cause: impl ToString) -> Self {
        Self {
            passing: false,
            ..Self::passing(cause)
        }
    }

    /// What a store's error means. The store is not to be asked again for what it
    /// answered, but for 408 (it waited too long), 429 (too many requests) and 5xx.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Precondition { .. } => {
                return Self::lasting("the object was changed while it was read");
            }
            Error::NotSupported { .. } => {
                return Self::lasting("it broke off, and the server gives no parts of a file");
            }
            _ => {}
        }
        let mut on_line = false;
        let mut cause: &(dyn std::error::Error + 'static) = error;
        loop {
            // object_store 0.14 gives a status in this message alone.
            let told = cause.to_string();
            if let Some(answer) = told.strip_prefix("Server returned non-2xx status code: ") {
                return Self::answered(answer);
            }
            on_line |= told.starts_with("Server returned error response");
            on_line |= cause.is::<HttpError>();
            match cause.source() {
                Some(source) => cause = source,
                // The innermost says it best: "connection refused".
                None if on_line => return Self::passing(told),
                None => return Self::lasting(told),
            }
        }
    }

    /// What a status and the text that came with it mean.
    fn answered(answer: &str) -> Self {
        let (status, text) = answer.split_once(": ").unwrap_or((answer, ""));
        let code: u16 = status.get(..3).map_or(0, |code| code.parse().unwrap_or(0));
        // The buckets explain themselves in XML; what web servers send is a page.
        let told = text.split_once("<Message>");
        let told = told.and_then(|(_, rest)| rest.split_once("</Message>"));
        let told = told.map_or_else(String::new, |(told, _)| {
            let told: String = told.chars().take(MAX_TOLD).collect();
            format!(" ({told})")
        });
        let advice = match code {
            401 | 403 => "; check the credentials in the environment",
            _ => "",
        };
        Self {
            cause: format!("the server answered {status}{told}{advice}"),
            passing: matches!(code, 408 | 429 | 500..),
            // S3 hides whether an object is there from those who may not list.
            missing: matches!(code, 401 | 403 | 404 | 410),
        }
    }
}

/// Does something until it succeeds, fails for good, or has failed too often. Each
/// new attempt is told as a warning.
pub(super) fn retrying<T>(
    name: &str,
    retry: &Retry,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, RemoteError> {
    let mut failed = 0;
    loop {
        let failure = match attempt() {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        failed += 1;
        let Failure {
            cause,
            passing,
            missing,
        } = failure;
        if !passing || failed >= retry.attempts {
            let reason = match failed {
                1 => cause,
                _ => format!("{cause}; it failed {failed} times in a row"),
            };
            return Err(RemoteError { reason, missing });
        }
        let wait = retry.wait(failed);
        tracing::warn!("retrying {name} in {} s: {cause}", wait.as_secs_f64());
        std::thread::sleep(wait);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_store_says_of_itself_is_told() {
        let body = "<Error><Code>A</Code><Message>Access Denied</Message></Error>";
        let failure = Failure::answered(&format!("403 Forbidden: {body}"));
        assert_eq!(
            failure.cause,
            "the server answered 403 Forbidden (Access Denied); check the credentials in the \
             environment"
        );
        assert!(failure.missing && !failure.passing);
        let failure = Failure::answered("503 Service Unavailable: <html>: busy</html>");
        assert_eq!(failure.cause, "the server answered 503 Service Unavailable");
        assert!(failure.passing && !failure.missing);
    }

    #[test]
    fn one_attempt_is_always_made_and_lasting_failures_end_it() {
        let retry = |attempts| Retry {
            attempts,
            first_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
        };
        for (attempts, lasting, made) in [(0, false, 1), (1, false, 1), (4, false, 4), (4, true, 1)]
        {
            let mut count = 0;
            let result = retrying::<()>("x", &retry(attempts), || {
                count += 1;
                Err(match lasting {
                    true => Failure::lasting("gone"),
                    false => Failure::passing("busy"),
                })
            });
            assert!(result.is_err());
            assert_eq!(count, made);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_told(answer: String) {
            prop_assert!(Failure::answered(&answer).cause.starts_with("the server answered"));
        }
    }
}
