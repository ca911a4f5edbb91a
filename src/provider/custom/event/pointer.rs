//! What stands at the places of an event that a description names.

use serde_json::Value;

/// What is at a JSON pointer, in which `*` stands for the first member from which the rest leads
/// somewhere.
pub(super) fn lookup<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let Some((head, tail)) = pointer.split_once("/*") else { return value.pointer(pointer) };
    if !(tail.is_empty() || tail.starts_with('/')) {
        return value.pointer(pointer);
    }
    match value.pointer(head)? {
        Value::Object(members) => members.values().find_map(|member| lookup(member, tail)),
        Value::Array(members) => members.iter().find_map(|member| lookup(member, tail)),
        _ => None,
    }
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
