//! What a store's refusal means, in words that an operator can act on. Never its URL, which may hold a signature.

use std::error::Error as StdError;

use object_store::Error as StoreError;

use crate::{
    error::{Error, Kind},
    util::trust,
};

/// An error while doing `doing` (such as "read") to what is at `place`.
pub fn failure(doing: &str, place: &str, error: &StoreError) -> Error {
    let words = Words::of(error);
    let made = Error::new(words.kind(error), format!("can't {doing} {place}"));
    let made = match words.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    };
    made.because(words.shown())
}

/// The same of one that was to take the place of another, which stays where that is not allowed.
pub fn not_replaced(place: &str, error: Error) -> Error {
    let what = format!("not allowed to replace {place}");
    Error::new(Kind::Denied, what).because(error).hint(
        "what was there is as it was; give a key that may overwrite (in a bucket with versions the old one stays as one of \
         them), or move it away by hand: what is missing is created.",
    )
}

/// Whether the same request may have another answer: there was none, or it broke off, or it says so.
pub fn may_pass(error: &StoreError) -> bool {
    use StoreError as E;
    match error {
        E::NotFound { .. }
        | E::AlreadyExists { .. }
        | E::Precondition { .. }
        | E::NotModified { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. } => false,
        _ if is_denied(error) || is_untrusted(error) => false,
        _ => match Words::of(error).status {
            None | Some(408 | 429) => true,
            Some(status) => status >= 500,
        },
    }
}

/// Whether the store understood, and refused for want of a right.
pub fn is_denied(error: &StoreError) -> bool {
    // Of one of several that are deleted by one request, the status is that of the request.
    matches!(error, StoreError::PermissionDenied { .. })
        || Words::of(error).status == Some(403)
        || error.to_string().contains("(code: AccessDenied)")
}

/// Whether it was we who refused: the server's certificate. A fault of the configuration, or of who stands between.
pub fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    last_cause(error).starts_with(UNTRUSTED)
}

/// How `rustls` words it.
const UNTRUSTED: &str = "invalid peer certificate";

/// What stands behind it where its time is over, or has not begun.
const OUT_OF_TIME: [&str; 2] = ["certificate expired", "certificate not valid yet"];

/// What is at the root of it.
pub fn last_cause(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// What is told of an error: the answer's status and code, else the last cause.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    status: Option<u16>,
    /// Such as `NoSuchBucket`.
    code: String,
    message: String,
    cause: String,
}

impl Words {
    fn of(error: &StoreError) -> Self {
        let text = error.to_string();
        let inside = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once(&format!("</{tag}>"))?.0.trim().to_owned())
        };
        let status = text.split_once("status code: ").and_then(|(_, rest)| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Self {
            status,
            code: inside("Code").unwrap_or_default(),
            message: inside("Message").unwrap_or_default(),
            cause: last_cause(error),
        }
    }

    fn kind(&self, error: &StoreError) -> Kind {
        // Nothing can be said of an object whose bucket isn't there.
        if self.lacks_bucket() {
            return Kind::Failed;
        }
        match error {
            StoreError::NotFound { .. } => Kind::NotFound,
            StoreError::AlreadyExists { .. } => Kind::AlreadyExists,
            _ if self.status == Some(416) => Kind::Damaged,
            _ => Kind::Failed,
        }
    }

    fn lacks_bucket(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchBucket" | "ContainerNotFound")
    }

    fn shown(&self) -> String {
        match (self.status, self.code.as_str(), self.message.as_str()) {
            (Some(status), "", _) => format!("the store answers {status}"),
            (None, "", _) => self.cause.clone(),
            (_, code, "") => format!("the store says {code}"),
            (_, code, message) => format!("the store says {code}: {message}"),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match (self.code.as_str(), self.status) {
            ("NoSuchBucket" | "ContainerNotFound", _) => {
                "make the bucket, or correct url and endpoint of this repository: pgstow makes no buckets."
            }
            ("RequestTimeTooSkewed", _) => {
                "set this host's clock: the store refuses requests whose time is more than minutes off."
            }
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "AuthenticationFailed"
                | "InvalidSecurity",
                _,
            ) => {
                "correct access_key and secret_key of this repository, or where else its credentials come from."
            }
            ("ExpiredToken" | "TokenRefreshRequired", _) => {
                "the credentials have run out: get new ones, or use some that renew themselves."
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect", _) | (_, Some(301)) => {
                "set the region (and endpoint) of this repository to that of the bucket."
            }
            (_, Some(401)) => {
                "see that the credentials of this repository are those of this store."
            }
            (_, Some(403)) => {
                "the credentials lack a right that pgstow needs: to get, put and list (cleanup: to delete) objects below the \
                 repository's folder. Without the right to list, a missing object looks forbidden."
            }
            (_, Some(429 | 503)) => {
                "the store asks for fewer requests: try later, or use fewer jobs."
            }
            (_, Some(_)) => return None,
            _ if trust::is_a_ca(&self.cause) => trust::IS_A_CA,
            _ if OUT_OF_TIME.iter().any(|words| self.cause.contains(words)) => {
                "have the store's certificate renewed; if it is a good one, set this host's clock."
            }
            _ if self.cause.starts_with(UNTRUSTED) => {
                "name the authority that signed the store's certificate by ca_file, and write the endpoint with the name that \
                 is in the certificate."
            }
            _ => {
                "check endpoint and region of this repository, and that this host reaches the store."
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Error {
        let error = StoreError::Generic {
            store: "S3",
            source: text.into(),
        };
        failure("read", "s3://b/x", &error)
    }

    #[test]
    fn answers_are_told_by_their_code_and_urls_are_not() {
        let refused = of(
            "Error performing GET https://h/x?sig=SECRET in 1ms - Server returned non-2xx status code: 403 \
             Forbidden: <Error><Code>RequestTimeTooSkewed</Code><Message>off</Message></Error>",
        );
        assert_eq!(
            refused.in_one_line(),
            "can't read s3://b/x: the store says RequestTimeTooSkewed: off"
        );
        assert!(
            refused
                .hint_text()
                .is_some_and(|hint| hint.contains("clock"))
        );
        let bare = of(
            "Error performing HEAD https://h/x?sig=SECRET in 1ms - Server returned non-2xx status code: 503 x: ",
        );
        assert_eq!(
            bare.in_one_line(),
            "can't read s3://b/x: the store answers 503"
        );
    }

    #[test]
    fn a_certificate_that_has_run_out_is_no_unknown_one() {
        let refused = of(
            "invalid peer certificate: certificate expired: verification time 2 (UNIX), \
                          but certificate is not valid after 1 (1 seconds ago)",
        );
        let hint = refused.hint_text().unwrap_or_default();
        assert!(hint.contains("renewed") && hint.contains("clock"), "{hint}");
    }

    #[test]
    fn an_object_of_a_missing_bucket_is_not_certainly_missing() {
        let missing = |body: &str| {
            let source = format!("Server returned non-2xx status code: 404 Not Found: {body}");
            let error = StoreError::NotFound {
                path: "x".to_owned(),
                source: source.into(),
            };
            failure("read", "s3://b/x", &error).kind()
        };
        assert_eq!(missing("<Code>NoSuchKey</Code>"), Kind::NotFound);
        assert_eq!(missing(""), Kind::NotFound);
        assert_eq!(missing("<Code>NoSuchBucket</Code>"), Kind::Failed);
    }
}
