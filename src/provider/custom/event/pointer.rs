//! What stands at the places of an event that a description names.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::wire;

/// A longer value is nothing that anything is compared with, in bytes.
const COMPARED_MAX: usize = 64 << 10;

/// What is at a JSON pointer, in which `*` stands for the first member from which the rest leads
/// somewhere.
pub(super) fn lookup<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let Some((head, tail)) = star(pointer) else { return value.pointer(pointer) };
    match value.pointer(head)? {
        Value::Object(members) => members.values().find_map(|member| lookup(member, tail)),
        Value::Array(members) => members.iter().find_map(|member| lookup(member, tail)),
        _ => None,
    }
}

/// The same of a text of JSON, of which nothing else is kept. A list or object that is long is
/// found as an empty list.
pub(in super::super) fn found(text: &str, pointer: &str) -> Option<Value> {
    let Some((head, tail)) = star(pointer) else {
        let raw = wire::at(text, pointer)?.get();
        let is_long = raw.len() > COMPARED_MAX && raw.starts_with(['[', '{']);
        let whole = || serde_json::from_str(raw).ok();
        return if is_long { Some(Value::Array(Vec::new())) } else { whole() };
    };
    let raw = wire::at(text, head)?.get();
    let members: Vec<&RawValue> = match serde_json::from_str(raw) {
        Ok(members) => members,
        Err(_) => {
            serde_json::from_str::<BTreeMap<String, &RawValue>>(raw).ok()?.into_values().collect()
        }
    };
    members.into_iter().find_map(|member| found(member.get(), tail))
}

/// A pointer up to its first `*`, and from there on.
fn star(pointer: &str) -> Option<(&str, &str)> {
    let parts = pointer.split_once("/*");
    parts.filter(|(_, tail)| tail.is_empty() || tail.starts_with('/'))
}

/// All that is at a JSON pointer, in which `*` stands for every member; nothing that is null.
pub(super) fn everywhere<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let Some((head, tail)) = pointer.split_once("/*") else {
        return value.pointer(pointer).filter(|value| !value.is_null()).into_iter().collect();
    };
    match value.pointer(head) {
        Some(Value::Object(members)) => {
            members.values().flat_map(|member| everywhere(member, tail)).collect()
        }
        Some(Value::Array(members)) => {
            members.iter().flat_map(|member| everywhere(member, tail)).collect()
        }
        _ => Vec::new(),
    }
}

/// A text, or a number or flag as text.
pub(in super::super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A list of texts, or a single one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_what_its_tree_has() {
        let text = r#"{"a":{"b/c":[1,{"d":null}],"e":"x"},"l":[{"n":1},{"m":"y"}],"a2":true}"#;
        let tree: Value = serde_json::from_str(text).unwrap();
        for pointer in [
            "",
            "/a",
            "/a/b~1c",
            "/a/b~1c/1/d",
            "/a/e",
            "/a/x",
            "/l/1/m",
            "/l/*/m",
            "/*/e",
            "/l/9",
            "/a/*",
            "/l/*",
            "/a2",
            "/a2/*",
            "no",
            "/*",
        ] {
            assert_eq!(found(text, pointer).as_ref(), lookup(&tree, pointer), "{pointer:?}");
        }
    }

    #[test]
    fn a_long_list_is_found_without_what_is_in_it() {
        let text = format!(r#"{{"rows":[{}0],"next":"n"}}"#, "0,".repeat(COMPARED_MAX));
        assert_eq!(found(&text, "/rows"), Some(Value::Array(Vec::new())));
        assert_eq!(found(&text, "/rows/7"), Some(0.into()));
        assert_eq!(found(&text, "/next"), Some("n".into()));
    }
}
