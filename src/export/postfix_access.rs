//! Postfix access(5) tables in text form, for `check_recipient_access`.
use super::{Format, Row, Unfit};
use crate::model::{Address, Suppression};
pub(super) struct PostfixAccess;
impl Format for PostfixAccess {
    fn name(&self) -> &'static str {
        "postfix-access"
    }
    fn default_reply(&self) -> &'static str {
        "5.1.1 suppressed: {reason}"
    }
    fn check_reply(&self, _reply: &str) -> Result<(), String> {
        Ok(())
    }
    fn rows(&self, _: &Address, _: &Suppression, _: &str) -> Result<Vec<Row>, Unfit> {
        Ok(vec![])
    }
    fn separator(&self) -> &'static str {
        "\t"
    }
}
