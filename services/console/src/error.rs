//! What is printed instead of an answer: a stable code, and what would be right.

use crate::report::clean;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use hic_abi::Error;
use hic_control::Refusal;
use serde::Serialize;

/// An error as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandError {
    /// Stable, for programs.
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The JSON form: `{"error":{"code":…,"message":…}}`.
#[derive(Serialize)]
struct Document<'a> {
    error: &'a CommandError,
}

impl CommandError {
    /// An error with this code.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// What somebody else says: `code: sentence`. A text of another form is a sentence without a code of its own.
    #[must_use]
    pub fn told(text: &str) -> Self {
        let of_codes = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match text.split_once(':') {
            Some((code, sentence)) if !code.is_empty() && code.chars().all(of_codes) => {
                Self::new(String::from(code), clean(sentence.trim()))
            }
            _ => Self::new(Refusal::Refused.code(), clean(text.trim())),
        }
    }

    /// `whom` did not answer as it should.
    #[must_use]
    pub fn call(whom: &str, error: Error) -> Self {
        let message = match error {
            Error::Timeout => {
                format!("{whom} did not answer in time; `services` shows whether it runs, try again")
            }
            Error::ServerDied => format!("{whom} died under the request; look at `services`, then ask again"),
            other => format!("{whom} could not be asked ({other}); `services` shows whether it runs"),
        };
        Self::new(error.name(), message)
    }

    /// `whom` refused `what`.
    #[must_use]
    pub fn refused(whom: &str, what: &str, refusal: Refusal) -> Self {
        let why = match refusal {
            Refusal::NotFound => "there is no service of this name; `services` lists them",
            Refusal::NotAllowed => "this service cannot be stopped or started on its own",
            Refusal::WrongState => "it is not in a state in which this can be done; `services` shows it",
            Refusal::NoResources => "memory or another resource is short; `memory` and `log` say more",
            Refusal::BrokenChain => "the audit chain does not hold",
            Refusal::Refused => "it gives no reason",
            Refusal::UnknownRequest | Refusal::Malformed => "it does not understand the request",
        };
        Self::new(refusal.code(), format!("{whom} refused {what}: {why}"))
    }

    /// As one line, text or JSON.
    #[must_use]
    pub fn render(&self, json: bool) -> String {
        if json {
            return super::report::json_line(&Document { error: self });
        }
        format!("error[{}]: {}\n", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_one_line_with_code_and_message() {
        let error = CommandError::new("usage", "say \"what\"");
        assert_eq!(error.render(false), "error[usage]: say \"what\"\n");
        assert_eq!(error.render(true), "{\"error\":{\"code\":\"usage\",\"message\":\"say \\\"what\\\"\"}}\n");
    }

    #[test]
    fn what_others_say_keeps_its_code_and_loses_its_control_characters() {
        let told = CommandError::told("untested-pair: nobody tested\x1b 1.2.0 -> 9.9.9: no");
        assert_eq!(told.render(false), "error[untested-pair]: nobody tested\u{fffd} 1.2.0 -> 9.9.9: no\n");
        for no_code in ["No code: here", ": nor here", "nor here"] {
            assert_eq!(CommandError::told(no_code), CommandError::new("refused", no_code));
        }
    }

    #[test]
    fn a_timeout_has_a_code_of_its_own() {
        assert_eq!(CommandError::call("netstack", Error::Timeout).code, "timeout");
    }
}
