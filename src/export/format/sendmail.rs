//! Sendmail access(5) rows for `makemap -t`: `To:user@domain<TAB>ERROR:5.1.1:"550 text"`.
//!
//! Every key has the tag `To:`, without which it would hold for senders and clients, too. Never
//! writes DISCARD.

use super::key::{each_spelling, require_name, unquoted};
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::reply::{self, Reply};

const SHAPE: Shape = Shape { separator: "\t", ..Shape::LINES };

/// Beside letters and digits, what Sendmail leaves alone in a text between quotes. It rewrites
/// `%1`, for instance.
const HARMLESS: &str = " .,:;/=@'_+-{}";

const CONFIG: &str = "\
dnl In the [[export]]. makemap reads its standard input, hence the shell:
dnl command = [\"/bin/sh\", \"-ec\", \"umask 027; makemap -t'\\t' hash {path}.new <{path}; \
mv {path}.new.db {path}.db\"]
dnl
dnl At the end of sendmail.mc, with tabs between the columns of a rule:
LOCAL_CONFIG
Ksuppressed hash -T<TMPF> {path}
LOCAL_RULESETS
dnl The answer at RCPT.
SLocal_check_rcpt
R$*\t\t\t$: $1 $| $>Suppressed $1
R$* $| $#$*\t\t$#$2
R$* $| $*\t\t$: $1
dnl Every delivery, such as by sendmail(1), aliases and from the queue.
Scheck_compat
R$* $| $*\t\t$@ $>Suppressed $2
SSuppressed
R$*\t\t\t$: $>canonify $1
R$+ < @ $+ . >\t\t$: $1 < @ $2 >
R$+ < @ $+ >\t\t$: <$(suppressed To:$1@$2 $: OK $)>
R<$* <TMPF>>\t\t$#error $@ 4.3.0 $: \"451 suppressions unavailable\"
R<ERROR:$-.$-.$-:$+>\t$#error $@ $1.$2.$3 $: $4
R$*\t\t\t$@ OK
";

/// `sendmail`.
pub(super) struct Sendmail;

impl Format for Sendmail {
    fn name(&self) -> &'static str {
        "sendmail"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn has_replies(&self) -> bool {
        true
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check(reply)?;
        let harmless = |c: char| c.is_ascii_alphanumeric() || HARMLESS.contains(c);
        if reply.chars().all(harmless) {
            return Ok(());
        }
        Err("must have no signs but . , : ; / = @ ' _ + - for Sendmail".to_owned())
    }

    fn answer(&self, reply: &str) -> String {
        let Some(parts) = Reply::parse(reply) else { return String::new() };
        format!("ERROR:{}:\"{} {}\"", parts.status(), parts.code(), parts.text)
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        require_name(entry.domain)?;
        let bare = unquoted(entry.local);
        // Sendmail strips quotes from what it looks up, but not always what escapes them.
        if bare != entry.local && !bare.bytes().all(is_simple) {
            return Err(Unfit("Sendmail does not find such a quoted local part"));
        }
        if bare.ends_with("+*") {
            return Err(Unfit("Sendmail would take +* for every extension"));
        }
        each_spelling(entry, |local, domain| {
            rows.add(&["To:", &unquoted(local), "@", domain], &[entry.answer()]);
        });
        Ok(())
    }
}

/// Whether a byte of a quoted local part was seen to be found.
fn is_simple(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::super::test;
    use super::*;

    #[test]
    fn rows_are_tagged_and_wildcards_left_out() {
        let rows = test::rows("sendmail", "#a@x.test").unwrap();
        assert_eq!(
            rows,
            [("To:#a@x.test".into(), "ERROR:5.7.1:\"550 suppressed: manual\"".into())]
        );
        assert!(test::rows("sendmail", "a+*@x.test").is_err());
        let rows = test::rows("sendmail", "\"a b@c\"@x.test").unwrap();
        assert_eq!(rows[0].0, "To:a b@c@x.test");
        assert!(test::rows("sendmail", "\"a\\\"b\"@x.test").is_err());
        assert_eq!(Sendmail.answer("4.7.1 later"), "ERROR:4.7.1:\"450 later\"");
        for reply in ["550 a \"b", "550 %1", "550 $x", "550 a\\b", "5.1.1 (x)"] {
            assert!(Sendmail.check_reply(reply).is_err(), "{reply}");
        }
    }
}
