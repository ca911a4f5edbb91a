//! The types of fields: what each takes is said here, for all providers.
//!
//! An ornament ([`Text`], [`Texts`], [`Flag`], [`Count`], [`Json`]) takes anything, and is absent
//! where it cannot be read. What an event rests on ([`Told`], [`When`]) keeps what stood there, so
//! that its error can name the field and the type. None fails to deserialize, and no error quotes
//! a value.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{date, mailbox, parse};
use crate::model::{Address, Scope, Time};
use crate::provider::Unreadable;

/// Longest JSON of the sender's own that is kept, in bytes; it is in no event beyond that.
const JSON_MAX: usize = 256 << 10;

/// What stands in a field.
#[derive(Clone, Default)]
enum Form {
    /// Nothing, or null.
    #[default]
    Absent,
    Text(String),
    /// As it was written: a double would lose digits.
    Number(String),
    Flag(bool),
    List,
    Object,
}

impl Form {
    fn of(raw: &str) -> Form {
        match raw.as_bytes().first() {
            Some(b'"') => parse(raw).map_or(Form::Absent, Form::Text),
            Some(b'-' | b'0'..=b'9') => Form::Number(raw.to_owned()),
            Some(b't') => Form::Flag(true),
            Some(b'f') => Form::Flag(false),
            Some(b'[') => Form::List,
            Some(b'{') => Form::Object,
            _ => Form::Absent,
        }
    }

    fn of_value(value: &Value) -> Form {
        match value {
            Value::Null => Form::Absent,
            Value::Bool(flag) => Form::Flag(*flag),
            Value::Number(number) => Form::Number(number.to_string()),
            Value::String(text) => Form::Text(text.clone()),
            Value::Array(_) => Form::List,
            Value::Object(_) => Form::Object,
        }
    }

    /// A text that is not blank, a number or a flag, as text.
    fn into_text(self) -> Option<String> {
        match self {
            Form::Text(text) | Form::Number(text) => filled(Some(text)),
            Form::Flag(flag) => Some(flag.to_string()),
            Form::Absent | Form::List | Form::Object => None,
        }
    }

    /// The text or number there, unless it is blank.
    fn written(&self) -> Option<&str> {
        match self {
            Form::Text(text) | Form::Number(text) => Some(text.trim()).filter(|t| !t.is_empty()),
            _ => None,
        }
    }

    fn is_absent(&self) -> bool {
        match self {
            Form::Absent => true,
            Form::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// Why a field of that name is not the `wanted` that it must be.
    fn misfit(&self, name: &str, wanted: &str) -> Unreadable {
        let stands = match self {
            Form::Absent => return Unreadable(format!("{name}: is missing")),
            Form::Text(text) if text.trim().is_empty() => {
                return Unreadable(format!("{name}: is empty"));
            }
            Form::Text(_) => "a text",
            Form::Number(_) => "a number",
            Form::Flag(_) => "true or false",
            Form::List => "a list",
            Form::Object => "an object",
        };
        Unreadable(format!("{name}: {stands} stands where {wanted} must"))
    }
}

/// Reads a field as it stands. Anything will do.
fn form<'de, D: Deserializer<'de>>(from: D) -> Result<Form, D::Error> {
    <&RawValue>::deserialize(from).map(|raw| Form::of(raw.get()))
}

/// Makes types that are read from whatever stands in a field.
macro_rules! read_from_form {
    ($($name:ident: $make:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                form(from).map($make)
            }
        }
    )*};
}

read_from_form! {
    Text: |form: Form| Text(form.into_text());
    Id: |form: Form| Id(form.written().map(str::to_owned));
    Flag: |form: Form| Flag(flag(form));
    Count: |form: Form| Count(form.written().and_then(|text| text.parse().ok()));
    Told: Told;
    When: When;
}

/// A text, number or flag, as text. Blank texts and all else are absent.
#[derive(Default)]
pub struct Text(Option<String>);

/// What identifies something: a text or number, without white space around it.
#[derive(Default)]
pub struct Id(Option<String>);

/// True or false, as themselves, as a number or in words.
#[derive(Clone, Copy, Default)]
pub struct Flag(Option<bool>);

/// A number that counts or numbers something, or a text of it.
#[derive(Clone, Copy, Default)]
pub struct Count(Option<u64>);

/// The texts of a list or of an object's members, or one that stands alone.
#[derive(Default)]
pub struct Texts(Vec<String>);

/// The sender's own JSON, of any form.
#[derive(Default)]
pub struct Json(Option<Value>);

/// An object with fields of its own. What is no object is absent.
pub struct Part<T>(Option<T>);

/// A list of such objects. A member that is none is one without fields.
pub struct Parts<T>(Vec<T>);

/// A text that an event rests on: a kind or an address.
#[derive(Clone, Default)]
pub struct Told(Form);

/// A time that an event rests on.
#[derive(Clone, Default)]
pub struct When(Form);

/// Makes types that stand for what they hold.
macro_rules! stand_for {
    ($($name:ident $(<$param:ident>)?: $held:ty;)*) => {$(
        impl $(<$param>)? Deref for $name $(<$param>)? {
            type Target = $held;
            fn deref(&self) -> &$held {
                &self.0
            }
        }
        impl $(<$param>)? From<$held> for $name $(<$param>)? {
            fn from(held: $held) -> Self {
                Self(held)
            }
        }
    )*};
}

stand_for! {
    Text: Option<String>;
    Id: Option<String>;
    Flag: Option<bool>;
    Count: Option<u64>;
    Texts: Vec<String>;
    Json: Option<Value>;
    Part<T>: Option<T>;
    Parts<T>: Vec<T>;
}

impl<T> Default for Part<T> {
    fn default() -> Part<T> {
        Part(None)
    }
}

impl<T> Default for Parts<T> {
    fn default() -> Parts<T> {
        Parts(Vec::new())
    }
}

impl From<Text> for Option<String> {
    fn from(text: Text) -> Option<String> {
        text.0
    }
}

impl From<Id> for Option<String> {
    fn from(id: Id) -> Option<String> {
        id.0
    }
}

impl From<Texts> for Vec<String> {
    fn from(texts: Texts) -> Vec<String> {
        texts.0
    }
}

impl<T> Part<T> {
    /// What it holds.
    pub fn into_inner(self) -> Option<T> {
        self.0
    }
}

impl<T> Parts<T> {
    /// What it holds.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

fn flag(form: Form) -> Option<bool> {
    const YES: &[&str] = &["true", "1", "yes", "y", "on", "t"];
    const NO: &[&str] = &["false", "0", "no", "n", "off", "f"];
    let word = form.into_text()?.trim().to_ascii_lowercase();
    let is = |words: &[&str]| words.contains(&word.as_str());
    if is(YES) { Some(true) } else { is(NO).then_some(false) }
}

impl Flag {
    /// Whether it says yes. Saying nothing is no.
    pub fn is_on(self) -> bool {
        self.0 == Some(true)
    }
}

impl From<&Value> for Flag {
    fn from(value: &Value) -> Flag {
        Flag(flag(Form::of_value(value)))
    }
}

impl From<&Value> for When {
    fn from(value: &Value) -> When {
        When(Form::of_value(value))
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        let texts = |members: Vec<Form>| members.into_iter().filter_map(Form::into_text).collect();
        Ok(Texts(match Form::of(raw) {
            Form::List => texts(parse(raw).unwrap_or_default()),
            // Of a list that had a hole some programs make an object.
            Form::Object => {
                let members: BTreeMap<String, Form> = parse(raw).unwrap_or_default();
                texts(members.into_values().collect())
            }
            form => texts(vec![form]),
        }))
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Form, D::Error> {
        form(from)
    }
}

/// The fields of an object that are texts, numbers or flags, as texts.
pub(super) fn flat(fields: BTreeMap<String, Box<RawValue>>) -> Vec<(String, String)> {
    let text = |raw: Box<RawValue>| Form::of(raw.get()).into_text();
    fields.into_iter().filter_map(|(name, raw)| Some((name, text(raw)?))).collect()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        Ok(Json::of(raw))
    }
}

impl Json {
    /// Reads a text as JSON, if it is that.
    pub fn of(text: &str) -> Json {
        Json(Some(text).filter(|text| text.len() <= JSON_MAX).and_then(|text| parse(text).ok()))
    }

    /// It as JSON text, if it is an object that is not empty.
    pub fn own_data(&self) -> Option<String> {
        match &self.0 {
            Some(Value::Object(data)) => own_data(data),
            _ => None,
        }
    }
}

/// The sender's own data as JSON text; `None` when there is none.
pub fn own_data(data: &Map<String, Value>) -> Option<String> {
    (!data.is_empty()).then(|| serde_json::to_string(data).ok()).flatten()
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Part<T>, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        Ok(Part(raw.starts_with('{').then(|| parse(raw).ok()).flatten()))
    }
}

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Parts<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Parts<T>, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        let members: Vec<Part<T>> =
            if raw.starts_with('[') { parse(raw).unwrap_or_default() } else { Vec::new() };
        Ok(Parts(members.into_iter().map(|member| member.0.unwrap_or_default()).collect()))
    }
}

impl Told {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.0 {
            Form::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of the field of that name.
    ///
    /// # Errors
    /// When it is missing, or no text.
    pub fn need(&self, name: &str) -> Result<&str, Unreadable> {
        self.text().ok_or_else(|| self.0.misfit(name, "a text"))
    }

    /// The address in the field of that name.
    ///
    /// # Errors
    /// When it is missing, blank, no text, or not one plausible mailbox.
    pub fn address(&self, name: &str) -> Result<Address, Unreadable> {
        if self.is_absent() {
            return Err(self.0.misfit(name, "a text"));
        }
        mailbox(self.need(name)?)
    }

    /// Whether nothing stands there, or null, or a blank text.
    pub fn is_absent(&self) -> bool {
        self.0.is_absent()
    }
}

impl From<String> for Told {
    fn from(text: String) -> Told {
        Told(Form::Text(text))
    }
}

impl From<&str> for Told {
    fn from(text: &str) -> Told {
        text.to_owned().into()
    }
}

impl When {
    /// A time as a text of it.
    pub fn of(text: Option<String>) -> When {
        When(text.map_or(Form::Absent, Form::Text))
    }

    /// What was written there, if it is a text or a number.
    pub fn given(&self) -> Option<&str> {
        self.0.written()
    }

    /// The time in the field of that name: RFC 3339, or seconds or milliseconds since the epoch,
    /// as a number or a text of it.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn at(&self, name: &str, received_at: Time) -> Result<Time, Unreadable> {
        self.read(name, |text| date::time(text, received_at))
    }

    /// The same, where a text without a zone is in UTC.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn utc(&self, name: &str, received_at: Time) -> Result<Time, Unreadable> {
        self.read(name, |text| date::utc_time(text, received_at))
    }

    /// The same, with `read` in the place of the forms that all providers have.
    ///
    /// # Errors
    /// When there is no text or number, or `read` fails.
    pub fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        let text = self.given().ok_or_else(|| self.0.misfit(name, "a time"))?;
        let text = match &self.0 {
            Form::Number(number) => date::plain(number),
            _ => text.to_owned(),
        };
        read(&text).map_err(|Unreadable(why)| Unreadable(format!("{name}: {why}")))
    }

    /// Whether nothing stands there, or null, or a blank text.
    pub fn is_absent(&self) -> bool {
        self.0.is_absent()
    }

    /// It, unless it is absent.
    pub fn some(&self) -> Option<&When> {
        (!self.is_absent()).then_some(self)
    }
}

/// The text, unless it is blank.
pub fn filled(text: impl Into<Option<String>>) -> Option<String> {
    text.into().filter(|text| !text.trim().is_empty())
}

/// An id without the angle brackets of a Message-ID (RFC 5322, section 3.6.4), if any is left.
pub fn bare_id(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// The scope of a provider's stream, group or list.
///
/// # Errors
/// When there is none of that name.
pub fn stream(name: &str) -> Result<Scope, Unreadable> {
    Scope::parse(&format!("stream:{name}"))
        .ok_or_else(|| Unreadable("what it covers has no name".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in a field, in all the ways that the mutation test has and some more.
    const ALL: &[&str] =
        &["null", "\"\"", "\"x\"", "7", "[]", "{}", "true", "\"\\ud800\"", "1e999", "[[[]]]"];

    fn read<T: DeserializeOwned>(raw: &str) -> T {
        parse(raw).unwrap_or_else(|error| panic!("{raw}: {error}"))
    }

    #[test]
    fn an_ornament_takes_anything() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for raw in ALL.iter().copied().chain([deep.as_str()]) {
            let _: (Text, Id) = (read(raw), read(raw));
            let _: (Texts, Json, Flag) = (read(raw), read(raw), read(raw));
            let _: (Count, Told, When) = (read(raw), read(raw), read(raw));
            let _: Part<Map<String, Value>> = read(raw);
            let _: Parts<Map<String, Value>> = read(raw);
        }
        for (raw, text) in [
            ("\"a\"", Some("a")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("1795758997.25", Some("1795758997.25")),
            ("false", Some("false")),
            ("\"a\\udc00\"", Some("a\u{fffd}")),
            ("\" \"", None),
            ("[\"a\"]", None),
            ("{}", None),
        ] {
            assert_eq!(read::<Text>(raw).as_deref(), text, "{raw}");
        }
        for (raw, id) in [("\" a \"", Some("a")), ("17", Some("17")), ("true", None)] {
            assert_eq!(read::<Id>(raw).as_deref(), id, "{raw}");
        }
        assert_eq!(read::<Count>("\"17\"").0, Some(17));
        assert_eq!(read::<Count>("-1").0, None);
    }

    #[test]
    fn texts_are_taken_from_where_they_stand() {
        for (raw, texts) in [
            (r#"["a","",3,null,["b"],true,"c"]"#, &["a", "3", "true", "c"][..]),
            (r#""a""#, &["a"][..]),
            (r#"{"0":"a","2":"b"}"#, &["a", "b"][..]),
            ("{}", &[][..]),
            ("null", &[][..]),
            ("[1e999]", &["1e999"][..]),
        ] {
            assert_eq!(*read::<Texts>(raw), texts, "{raw}");
        }
    }

    #[test]
    fn a_flag_is_read_in_every_spelling() {
        for on in ["true", "\"true\"", "\"TRUE\"", "1", "\"1\"", "\"yes\"", "\" on \""] {
            assert_eq!(read::<Flag>(on).0, Some(true), "{on}");
        }
        for off in ["false", "\"false\"", "0", "\"0\"", "\"No\""] {
            assert_eq!(read::<Flag>(off).0, Some(false), "{off}");
        }
        for none in ["null", "\"\"", "7", "\"x\"", "[]", "{}"] {
            assert_eq!(read::<Flag>(none).0, None, "{none}");
        }
    }

    #[test]
    fn what_matters_says_which_field_has_which_type() {
        for (raw, said) in [
            ("null", "email: is missing"),
            ("\" \"", "email: is empty"),
            ("17", "email: a number stands where a text must"),
            ("true", "email: true or false stands where a text must"),
            ("[\"secret\"]", "email: a list stands where a text must"),
            ("{\"secret\":1}", "email: an object stands where a text must"),
        ] {
            let error = read::<Told>(raw).address("email").err();
            assert_eq!(error, Some(Unreadable(said.to_owned())), "{raw}");
        }
        assert_eq!(read::<Told>("\" a \"").need("kind"), Ok(" a "));
        assert!(read::<Told>("7").need("kind").is_err());
        let now = Time::from_seconds(1_800_000_000);
        let error = |raw: &str| read::<When>(raw).at("ts", now).unwrap_err().0;
        assert_eq!(error("[]"), "ts: a list stands where a time must");
        assert_eq!(error("null"), "ts: is missing");
        let form = "ts: it is no time as RFC 3339 has it, and no number of seconds";
        assert_eq!(error("\"secret\""), form);
    }

    #[test]
    fn a_time_is_read_in_every_form() {
        let now = Time::from_seconds(1_800_000_000);
        for (raw, shown) in [
            ("1795758997.25", "2026-11-27T05:56:37.25Z"),
            ("\"1795758997\"", "2026-11-27T05:56:37Z"),
            ("\" 1795758997.5\\n\"", "2026-11-27T05:56:37.5Z"),
            ("1795758997250", "2026-11-27T05:56:37.250Z"),
            ("\"1795758997250.125\"", "2026-11-27T05:56:37.250125Z"),
            ("1.795758997E9", "2026-11-27T05:56:37.000Z"),
            ("\"2026-11-27T05:56:37.12345678901Z\"", "2026-11-27T05:56:37.123456789Z"),
            ("\"2026-11-27t06:56:37+01:00\"", "2026-11-27T05:56:37Z"),
        ] {
            let time = read::<When>(raw).at("ts", now);
            assert_eq!(time.map(|time| time.to_string()), Ok(shown.to_owned()), "{raw}");
        }
        let bare = read::<When>("\"2026-11-27 05:56:37\"");
        assert_eq!(bare.utc("ts", now).unwrap().to_string(), "2026-11-27T05:56:37Z");
        assert!(bare.at("ts", now).is_err());
    }

    #[test]
    fn parts_are_read_around_what_is_none() {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Inner {
            a: Text,
        }
        assert!(read::<Part<Inner>>("[1]").is_none());
        let inner = read::<Part<Inner>>(r#"{"a":1,"b":2}"#).into_inner().unwrap();
        assert_eq!(inner.a.as_deref(), Some("1"));
        let list = read::<Parts<Inner>>(r#"[{"a":"x"},7,{}]"#).into_inner();
        assert_eq!(
            list.iter().map(|one| one.a.as_deref()).collect::<Vec<_>>(),
            [Some("x"), None, None]
        );
        assert!(read::<Parts<Inner>>("{}").is_empty());
    }

    #[test]
    fn own_data_is_an_object_that_is_not_empty() {
        for (raw, own) in [
            (r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            (r#"{"a":"\ud800"}"#, Some("{\"a\":\"\u{fffd}\"}")),
            ("{}", None),
            ("[1]", None),
            ("\"x\"", None),
        ] {
            assert_eq!(read::<Json>(raw).own_data().as_deref(), own, "{raw}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(JSON_MAX));
        assert_eq!(read::<Json>(&long).own_data(), None);
    }

    #[test]
    fn ids_and_streams_are_read() {
        assert_eq!(bare_id(" <a@b> ").as_deref(), Some("a@b"));
        assert_eq!(bare_id("a@b").as_deref(), Some("a@b"));
        assert!(bare_id("<>").is_none() && bare_id("").is_none());
        assert!(stream("").is_err() && stream("a\nb").is_err());
        assert_eq!(stream("news").unwrap().to_string(), "stream:news");
    }
}
