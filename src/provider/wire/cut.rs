//! Cuts bodies and pages into elements, each of them the very bytes that came.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{first, mended, object, parse, unmarked};
use crate::model::Element;
use crate::provider::PageError;

/// A member of an array that is shorter than this, in bytes, and in which no address can be, is of
/// no use to anybody.
const USEFUL: usize = 16;
/// With more of those in a body, the ones that follow each other are kept as one: millions fit into
/// it.
const USELESS_MAX: usize = 1_000;

/// Cuts a JSON array into its members, or takes an object as the only one. All else is one
/// element that nobody will be able to read, and so ends in quarantine.
pub fn split_json(body: &[u8]) -> Vec<Element> {
    let parts = if first(body) == Some(b'[') { members(unmarked(body)) } else { None };
    match parts {
        Some(parts) => parts.into_iter().map(element).collect(),
        None => vec![element(body)],
    }
}

/// Cuts the array under `name` of a JSON object into its members. All else is cut as
/// [`split_json`] does.
pub fn split_under(name: &str, body: &[u8]) -> Vec<Element> {
    match members_under::<Useful>(name, body) {
        Some(parts) => parts.into_iter().map(element).collect(),
        None => split_json(body),
    }
}

/// Cuts the array that a JSON pointer (RFC 6901) leads to into its members, or takes what else
/// stands there as the only one. All else is cut as [`split_json`] does.
pub fn split_at(pointer: &str, body: &[u8]) -> Vec<Element> {
    if pointer.is_empty() {
        return split_json(body);
    }
    let parts = parts_by(unmarked(body), |text| {
        let here = at(text, pointer)?;
        let is_list = first(here.get().as_bytes()) == Some(b'[');
        let list = is_list.then(|| serde_json::from_str::<Useful>(here.get()).ok()).flatten();
        Some(list.unwrap_or_else(|| {
            let mut one = Useful::default();
            one.add(here.get().as_bytes());
            one
        }))
    });
    match parts {
        Some(parts) => parts.into_iter().map(element).collect(),
        None => split_json(body),
    }
}

/// The useful members of a JSON array, verbatim. `None` when it is none.
fn members(body: &[u8]) -> Option<Vec<&[u8]>> {
    parts_by(body, |text| serde_json::from_str::<Useful>(text).ok())
}

/// The members of the array under `name` of a JSON object, verbatim.
fn members_under<'b, P>(name: &str, body: &'b [u8]) -> Option<Vec<&'b [u8]>>
where
    P: for<'a> Deserialize<'a> + Into<Vec<Range<usize>>>,
{
    let body = unmarked(body);
    let is_object = first(body) == Some(b'{');
    let found = || {
        parts_by(body, |text| {
            let whole: &RawValue = serde_json::from_str(text).ok()?;
            serde_json::from_str::<P>(below(whole, name)?.get()).ok()
        })
    };
    is_object.then(found).flatten()
}

/// The useful parts of a body that `find` names, verbatim. `None` when it finds none.
pub fn members_by(
    body: &[u8],
    find: impl for<'a> Fn(&'a str) -> Option<Vec<&'a RawValue>>,
) -> Option<Vec<&[u8]>> {
    parts_by(body, |text| {
        let mut useful = Useful::default();
        find(text)?.into_iter().for_each(|member| useful.add(member.get().as_bytes()));
        Some(useful)
    })
}

/// What a JSON pointer (RFC 6901) leads to in a text of JSON, of which nothing else is kept.
pub fn at<'b>(text: &'b str, pointer: &str) -> Option<&'b RawValue> {
    let mut here: &RawValue = serde_json::from_str(text).ok()?;
    if !(pointer.is_empty() || pointer.starts_with('/')) {
        return None;
    }
    for name in pointer.split('/').skip(1) {
        here = below(here, &name.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(here)
}

/// What a name leads to in an object, or a number in an array. Nothing else of it is kept: there
/// may be millions.
fn below<'b>(value: &'b RawValue, name: &str) -> Option<&'b RawValue> {
    let mut input = serde_json::Deserializer::from_str(value.get());
    Step(name).deserialize(&mut input).ok().flatten()
}

struct Step<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value::<&RawValue>()?;
            // Of several with one name the last counts, as ever.
            if name == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut before = self.0.parse::<usize>().ok();
        let mut found = None;
        while let Some(member) = members.next_element::<&RawValue>()? {
            if before == Some(0) {
                found = Some(member);
            }
            before = before.and_then(|before| before.checked_sub(1));
        }
        Ok(found)
    }
}

/// Where the members of an array lie in memory, each of them.
struct All(Vec<Range<usize>>);

/// The same, without too many of no use.
#[derive(Default)]
struct Useful {
    places: Vec<Range<usize>>,
    useless: usize,
    /// The last one is of no use.
    joins: bool,
}

impl Useful {
    fn add(&mut self, member: &[u8]) {
        // An `@` may be escaped.
        let is_useful = member.len() >= USEFUL || member.iter().any(|b| matches!(b, b'@' | b'\\'));
        self.useless += usize::from(!is_useful);
        let place = place(member);
        match self.places.last_mut() {
            Some(last) if self.joins && !is_useful && self.useless > USELESS_MAX => {
                last.end = place.end;
            }
            _ => self.places.push(place),
        }
        self.joins = !is_useful;
    }
}

fn place(member: &[u8]) -> Range<usize> {
    let from = member.as_ptr().addr();
    from..from + member.len()
}

impl From<All> for Vec<Range<usize>> {
    fn from(members: All) -> Self {
        members.0
    }
}

impl From<Useful> for Vec<Range<usize>> {
    fn from(members: Useful) -> Self {
        members.places
    }
}

impl<'de> Deserialize<'de> for All {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let members = Vec::<&RawValue>::deserialize(input)?;
        Ok(All(members.into_iter().map(|member| place(member.get().as_bytes())).collect()))
    }
}

impl<'de> Deserialize<'de> for Useful {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(Joining)
    }
}

struct Joining;

impl<'de> Visitor<'de> for Joining {
    type Value = Useful;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Useful, A::Error> {
        let mut useful = Useful::default();
        while let Some(member) = members.next_element::<&RawValue>()? {
            useful.add(member.get().as_bytes());
        }
        Ok(useful)
    }
}

/// The parts of a body that `find` places in the text that it is given, verbatim.
fn parts_by<P: Into<Vec<Range<usize>>>>(
    body: &[u8],
    find: impl Fn(&str) -> Option<P>,
) -> Option<Vec<&[u8]>> {
    // One member with bytes that are not UTF-8 must not cost the others: the cuts are found in a
    // copy of the same length that has something harmless in their place.
    let text = match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(harmless(body)),
    };
    let parts = |text: &str| -> Option<Vec<&[u8]>> {
        let start = text.as_ptr().addr();
        find(text)?.into().into_iter().map(|place| cut(body, start, place)).collect()
    };
    // The same for a name with half a surrogate pair in it.
    parts(&text).or_else(|| parts(&mended(&text)?))
}

/// What lies at a place in memory, by where the body starts there.
fn cut(body: &[u8], start: usize, place: Range<usize>) -> Option<&[u8]> {
    body.get(place.start.checked_sub(start)?..place.end.checked_sub(start)?)
}

/// The elements that parts of a body are, in their order, without too many of no use.
pub fn elements<'b>(body: &'b [u8], parts: impl IntoIterator<Item = &'b [u8]>) -> Vec<Element> {
    let mut useful = Useful::default();
    parts.into_iter().for_each(|part| useful.add(part));
    let places = useful.places.into_iter();
    places.filter_map(|place| cut(body, body.as_ptr().addr(), place)).map(element).collect()
}

/// The bytes, with a `?` for each that is not part of UTF-8.
fn harmless(body: &[u8]) -> String {
    let mut copy = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        copy.push_str(chunk.valid());
        copy.extend(chunk.invalid().iter().map(|_| '?'));
    }
    copy
}

/// Reads a page that is a JSON object, or refuses it as no page of `what`.
///
/// # Errors
/// When it is no object, or not one of this form.
pub fn page<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, PageError> {
    object(body).map_err(|error| PageError(format!("not a page of {what}: {error}")))
}

/// Reads a page that is a JSON array of rows, or refuses it as no page of `what`.
///
/// # Errors
/// When it is no array.
pub fn page_of_rows(body: &[u8], what: &str) -> Result<Vec<Element>, PageError> {
    let items: Vec<Box<RawValue>> = parse(&String::from_utf8_lossy(unmarked(body)))
        .map_err(|error| PageError(format!("not a page of {what}: {error}")))?;
    Ok(taken(items))
}

/// The rows of a page, verbatim, without a second copy of a list that comes in one piece.
pub fn taken(items: Vec<Box<RawValue>>) -> Vec<Element> {
    let row = |item: Box<RawValue>| {
        let body = String::from(Box::<str>::from(item)).into_bytes();
        Element { context: String::new(), body }
    };
    items.into_iter().map(row).collect()
}

/// The rows of a page, verbatim.
pub fn rows(items: &[Box<RawValue>]) -> Vec<Element> {
    items.iter().map(|item| element(item.get().as_bytes())).collect()
}

/// The rows of a page that is a JSON object with an array under `name`.
///
/// # Errors
/// When it is none.
pub fn rows_under(name: &str, body: &[u8]) -> Result<Vec<Element>, PageError> {
    let parts = members_under::<All>(name, body);
    let parts = parts.ok_or_else(|| PageError(format!("there is no list of {name}")))?;
    Ok(parts.into_iter().map(element).collect())
}

/// An element without context.
pub fn element(body: &[u8]) -> Element {
    Element { context: String::new(), body: body.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_cut_verbatim() {
        let bodies = |body: &str| -> Vec<String> {
            let text = |e: Element| String::from_utf8(e.body).unwrap();
            split_json(body.as_bytes()).into_iter().map(text).collect()
        };
        assert_eq!(bodies(" [ {\"a\" : 1}, 2 ] "), ["{\"a\" : 1}", "2"]);
        assert_eq!(bodies("[]"), Vec::<String>::new());
        assert_eq!(bodies("{\"a\":1}"), ["{\"a\":1}"]);
        assert_eq!(bodies("[1,"), ["[1,"]);
        assert_eq!(bodies("\u{feff}[1, 2]"), ["1", "2"]);
        assert_eq!(bodies("\u{feff}{}"), ["\u{feff}{}"]);
        assert_eq!(bodies(r#"[{"\ud800":1},2]"#), [r#"{"\ud800":1}"#, "2"]);
        assert_eq!(bodies("no"), ["no"]);
        assert_eq!(bodies(""), [""]);
    }

    #[test]
    fn a_body_of_millions_of_members_is_few_elements() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(USEFUL));
        let zeros = vec!["0"; USELESS_MAX + 9].join(",");
        let array = format!("[{zeros},{long},{{}},\"a@x\",[],null]");
        let lines = format!("{}{long}\n{{}}\n", "0\n".repeat(USELESS_MAX + 9));
        let lines = elements(lines.as_bytes(), lines.as_bytes().split(|b| *b == b'\n'));
        for (cut, last) in [
            (split_json(array.as_bytes()), &["{}", "\"a@x\"", "[],null"][..]),
            (split_under("a", format!("{{\"a\":{array}}}").as_bytes()), &["[],null"]),
            (split_at("/a/0", format!("{{\"a\":[{array}]}}").as_bytes()), &["[],null"]),
            (lines, &["{}\n"]),
        ] {
            let texts: Vec<&str> =
                cut.iter().map(|element| std::str::from_utf8(&element.body).unwrap()).collect();
            assert!(texts[..USELESS_MAX - 1].iter().all(|text| *text == "0"));
            assert_eq!(texts[USELESS_MAX - 1].len(), 2 * 10 - 1, "the last of them");
            assert_eq!(texts[USELESS_MAX], long);
            assert!(texts.ends_with(last), "{:?}", &texts[USELESS_MAX..]);
        }
    }

    #[test]
    fn a_member_that_is_not_utf8_is_cut_alone() {
        let cut: Vec<Vec<u8>> =
            split_json(b"[1,\"\xe9\xff\",\"\xc3\xa9\"]").into_iter().map(|e| e.body).collect();
        assert_eq!(cut, [&b"1"[..], b"\"\xe9\xff\"", b"\"\xc3\xa9\""]);
        assert_eq!(split_json(b"[1,\xff]").len(), 1);
    }

    #[test]
    fn members_below_a_name_are_cut_verbatim() {
        let bodies = |body: &[u8]| -> Vec<Vec<u8>> {
            split_under("events", body).into_iter().map(|e| e.body).collect()
        };
        let two = b" {\"v\":1, \"events\" : [ {\"a\" : \"\xff\"}, 2 ] } ";
        assert_eq!(bodies(two), [&b"{\"a\" : \"\xff\"}"[..], b"2"]);
        assert_eq!(bodies(b"[1,{\"events\":[]}]"), [&b"1"[..], b"{\"events\":[]}"]);
        assert_eq!(bodies(b"{\"events\":[]}"), Vec::<Vec<u8>>::new());
        assert_eq!(bodies(b"\xef\xbb\xbf{\"\\ud800\":1,\"events\":[3]}"), [b"3"]);
        for whole in [&b"{\"events\":3}"[..], b"{\"a\":1}", b"{\"events\":[1,", b"", b"no"] {
            assert_eq!(bodies(whole), [whole]);
        }
    }

    #[test]
    fn a_pointer_leads_to_members_or_to_one() {
        let bodies = |pointer: &str, body: &[u8]| -> Vec<Vec<u8>> {
            split_at(pointer, body).into_iter().map(|e| e.body).collect()
        };
        let body =
            b"\xef\xbb\xbf{\"x\":[],\"a/b\":{\"~\":[7,[ {\"v\" : \"\xff\"}, 2 ]]}, \"x\":3 }";
        assert_eq!(bodies("/a~1b/~0/1", body), [&b"{\"v\" : \"\xff\"}"[..], b"2"]);
        assert_eq!(bodies("/a~1b/~0/0", body), [b"7"]);
        assert_eq!(bodies("/x", body), [b"3"], "the last of a name");
        assert_eq!(bodies("", b"[1, 2]"), [b"1", b"2"]);
        for pointer in ["/a", "/a~1b/~0/2", "/a~1b/~0/x", "/x/y"] {
            assert_eq!(bodies(pointer, body), [body], "{pointer}");
        }
        assert_eq!(bodies("/a", b"[1, 2]"), [b"1", b"2"]);
        assert_eq!(bodies("/a", b"{\"a\":[1"), [b"{\"a\":[1"]);
    }

    #[test]
    fn rows_are_cut_of_pages_only() {
        let texts = |rows: Result<Vec<Element>, PageError>| -> Option<Vec<Vec<u8>>> {
            rows.ok().map(|rows| rows.into_iter().map(|row| row.body).collect())
        };
        assert_eq!(
            texts(page_of_rows(b" [ {} , 2]", "rows")),
            Some(vec![b"{}".to_vec(), b"2".to_vec()])
        );
        assert_eq!(texts(rows_under("a", b"{\"b\":1,\"a\":[3]}")), Some(vec![b"3".to_vec()]));
        for body in ["", "{}", "{\"a\":{}}", "[1,", "{\"a\":[1]", "null", "\"a\"", "<html>"] {
            assert_eq!(texts(page_of_rows(body.as_bytes(), "rows")), None, "{body}");
            assert_eq!(texts(rows_under("a", body.as_bytes())), None, "{body}");
        }
    }
}
