//! The architecture, held against the source text: layers, purity, owners, sizes, registries.
//!
//! The tables here are the design. A new edge between modules is a new row, with its reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use suppressd::{export, lookup, provider};

use crate::rust_text::Source;

/// The layer of each module, and of files that stand in another layer than their module. A name
/// that ends in `/` speaks for the files below a folder, but not for its `mod.rs`.
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("model/", 0),
    ("clock", 0),
    ("current", 0),
    ("niceness", 0),
    ("secret", 0),
    ("shown", 0),
    ("telemetry", 0),
    ("telemetry/", 0),
    ("units", 0),
    ("ends", 1),
    ("provider", 1),
    ("provider/", 1),
    ("import", 1),
    ("import/", 1),
    ("rules", 1),
    ("verdict", 1),
    ("verdict/", 1),
    ("accept", 2),
    ("accept/", 2),
    ("flights", 2),
    ("forgotten", 2),
    ("forgotten/", 2),
    ("listen", 2),
    ("listen/", 2),
    ("room", 2),
    ("stop", 2),
    ("journal", 2),
    ("journal/", 2),
    ("store", 2),
    ("store/", 2),
    ("turns", 2),
    ("backup", 3),
    ("backup/", 3),
    ("ingest", 3),
    ("ingest/", 3),
    ("resolve", 3),
    ("fetch", 4),
    ("fetch/", 4),
    ("acme", 4),
    ("acme/", 4),
    ("webhook", 4),
    ("webhook/", 4),
    ("admin", 4),
    ("admin/", 4),
    ("poll", 4),
    ("poll/", 4),
    ("poll/cursor", 1),
    ("poll/schedule", 1),
    ("export", 4),
    ("export/", 1),
    ("export/command", 4),
    ("export/compare", 4),
    ("export/compiled", 4),
    ("export/due", 4),
    ("export/file", 4),
    ("export/handle", 4),
    ("export/listed", 4),
    ("export/note", 4),
    ("export/partial", 4),
    ("export/place", 4),
    ("export/publish", 4),
    ("export/runner", 4),
    ("export/scan", 4),
    ("export/table", 4),
    ("export/table/", 4),
    ("export/whole", 4),
    ("export/write", 4),
    ("fleet", 4),
    ("fleet/", 4),
    ("forward", 4),
    ("forward/", 4),
    ("lookup", 4),
    ("lookup/", 1),
    ("lookup/judge", 4),
    ("lookup/listener", 4),
    ("http", 5),
    ("http/", 5),
    ("control", 5),
    ("control/", 5),
    ("dashboard", 5),
    ("dashboard/", 5),
    ("config", 6),
    ("config/", 6),
    ("supervise", 6),
    ("systemd", 6),
    ("probe", 7),
    ("probe/", 7),
    ("daemon", 7),
    ("daemon/", 7),
    ("cli", 8),
    ("cli/", 8),
];

/// Imports within one layer that are meant, each with its reason.
const EDGES: &[(&str, &str, &str)] = &[
    ("clock", "model", "the clock's reading is a `Time`"),
    ("telemetry", "model", "log lines and metrics name sources, kinds and times"),
    ("telemetry", "units", "log lines show durations as administrators write them"),
    ("accept", "listen", "what is accepted from is a bound listener"),
    ("accept", "stop", "a listener accepts until the signal to stop"),
    ("store", "journal", "an index entry points at a record, and the reader fetches it"),
    ("forgotten", "journal", "its files are made private and durable as the journal's are"),
    ("store", "forgotten", "a verdict may rest on no more than the hash of somebody forgotten"),
    ("import", "provider", "addresses and times are read as they are in the providers' answers"),
    ("poll", "provider", "a cursor gives the window that an adapter asks for"),
    ("provider", "verdict", "what an adapter knows of a failure is judged in one place"),
    ("acme", "fetch", "a CA is asked by the only owner of the HTTP client"),
    ("admin", "acme", "health tells why there is no certificate"),
    ("poll", "fetch", "a page is asked for by the only owner of the HTTP client"),
    ("webhook", "fetch", "a certificate that signed a notification may have to be fetched"),
    ("admin", "fetch", "`trigger` posts to our own listener as a provider would"),
    ("admin", "poll", "`poll` and `status` use the runner's handle"),
    ("forward", "fetch", "a receiver is told by the only owner of the HTTP client"),
    ("admin", "forward", "`forward` and `status` use the runner's handle"),
    ("admin", "lookup", "`status` shows what the listeners have counted"),
    ("admin", "export", "`export` and `status` use the runner's handle"),
    ("admin", "webhook", "`trigger` signs with the source's own checks"),
    ("admin", "fleet", "`fleet` and `status` show what it knows of the other hosts"),
    ("fleet", "webhook", "tokens that count once are known to all hosts"),
];

/// What pure files (layers 0 and 1) must not name.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "sled",
    "reqwest",
    "hyper",
    "crate::clock",
    "std::time::SystemTime",
    "SystemTime",
    "std::time::Instant::now",
    "Instant::now",
    "clock::now",
];

/// What pure files may name after all: the file (empty: each of them), the path, and why.
const IMPURE_ALLOWED: &[(&str, &str, &str)] = &[
    ("clock.rs", "std::time::SystemTime", "it is the one reader of the clock"),
    ("clock.rs", "SystemTime", "it is the one reader of the clock"),
    ("telemetry/fold.rs", "Instant::now", "repeated lines are folded by the second"),
    ("", "std::net::IpAddr", "an address is a value; only sockets are I/O"),
    ("", "std::net::Ipv4Addr", "an address is a value; only sockets are I/O"),
    ("", "std::net::Ipv6Addr", "an address is a value; only sockets are I/O"),
];

/// What does I/O or holds the daemon together, and the only files that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("sled", &["store/"]),
    ("reqwest", &["fetch.rs"]),
    ("hyper", &["http/"]),
    ("hyper_util", &["fetch.rs", "http/"]),
    ("http_body_util", &["acme/order.rs", "http/"]),
    ("toml", &["config/", "cli/configuration.rs", "verdict/"]),
    ("chrono", &["config/poll.rs", "poll/trigger.rs"]),
    ("anstyle", &["cli/"]),
    ("clap", &["cli/"]),
    ("listenfd", &["listen.rs"]),
    ("sd_notify", &["systemd.rs"]),
    ("instant_acme", &["acme/"]),
    ("rcgen", &["acme/"]),
    ("maud", &["http/dashboard/"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/", "daemon/", "http/"]),
    ("tracing", &["telemetry/"]),
    ("async_nats", &["fleet/"]),
    ("heed", &["export/table/lmdb/map.rs"]),
    ("cdb2", &["export/table/cdb.rs"]),
    ("zstd", &["journal/packed.rs"]),
    ("rustix", &["cli/output.rs", "niceness.rs"]),
    (
        "nix",
        &[
            "config/",
            "control/",
            "export/command.rs",
            "export/compiled.rs",
            "export/file.rs",
            "export/note.rs",
            "export/table/lmdb/",
            "journal/",
            "listen.rs",
            "probe/",
            "store/",
        ],
    ),
    (
        "std::fs",
        &[
            "acme/kept.rs",
            "admin/process.rs",
            "backup/",
            "cli/",
            "config/",
            "control/",
            "export/compare.rs",
            "export/compiled.rs",
            "export/file.rs",
            "export/listed.rs",
            "export/note.rs",
            "export/partial.rs",
            "export/publish.rs",
            "export/table/",
            "export/whole.rs",
            "fetch/spool.rs",
            "fleet/life.rs",
            "forgotten/",
            "forward/file.rs",
            "http/",
            "ingest/clockwatch.rs",
            "journal/",
            "listen/named.rs",
            "probe/",
            "store/",
        ],
    ),
    ("tokio::fs", &[]),
    ("std::time::SystemTime", &["clock.rs"]),
];

/// Longest file without its tests, longest function, in lines; longest line, in characters.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

/// Files in `src/provider/` that are no provider that a source can name.
const NO_PROVIDERS: &[&str] = &[
    "adapter", "api", "fleet", "guides", "held", "imported", "judge", "listing", "mod", "operator",
    "packed", "push", "settings", "stretch", "turned", "verify", "wire",
];

/// Files in `src/export/format/` that are no format.
const NO_FORMATS: &[&str] = &["field", "key", "mod"];

/// Files there with more than one format, whose names end or begin as the file's does.
const FAMILIES: &[&str] = &["regexp", "mailgun", "postfix"];

/// Files in `src/lookup/` that are no protocol that an MTA can speak.
const NO_PROTOCOLS: &[&str] = &["judge", "listener", "mod", "reply"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder, by path, ascending.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let folder = root().join(folder);
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        Source::new(&name, &std::fs::read_to_string(&path).unwrap())
    };
    rust_files(&folder).into_iter().map(source).collect()
}

/// The files below `src/` that are part of the program.
fn program() -> Vec<Source> {
    without_tests(sources("src"))
}

/// Drops the files whose only `mod` line stands behind `#[cfg(test)]`.
fn without_tests(mut sources: Vec<Source>) -> Vec<Source> {
    let declared: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| {
            let above = if is_root(source) { "" } else { source.key() };
            let key = |name: &&str| format!("{above}/{name}").trim_start_matches('/').to_owned();
            source.modules().iter().map(key).collect::<Vec<String>>()
        })
        .collect();
    sources.retain(|source| is_root(source) || declared.contains(source.key()));
    sources
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Where `lib.rs` and `main.rs` stand: outside of the layers, they only name modules.
fn is_root(source: &Source) -> bool {
    matches!(source.path.as_str(), "lib.rs" | "main.rs")
}

/// The layer of a file or module by its key, such as `poll` or `poll/cursor`.
fn layer(key: &str) -> Option<u8> {
    let of = |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer);
    let folder = |(end, _): (usize, &str)| of(&key[..=end]);
    of(key).or_else(|| key.rmatch_indices('/').find_map(folder))
}

fn top(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

/// The longest part of a path below the crate's root that is a file or a folder with files.
fn target(sources: &[Source], parts: &[&str]) -> Option<String> {
    (1..=parts.len()).rev().map(|length| parts[..length].join("/")).find(|key| {
        let below = format!("{key}/");
        sources.iter().any(|s| s.key() == key || s.path.starts_with(&below))
    })
}

/// What a path in a file leads to inside the crate: the key of a module, if any.
fn inside(sources: &[Source], source: &Source, segments: &[String]) -> Option<String> {
    let mut here: Vec<&str> = source.key().split('/').collect();
    let mut rest = segments.iter().map(String::as_str).peekable();
    match rest.next()? {
        "crate" => here.clear(),
        "self" => {}
        "super" => {
            here.pop();
            while rest.next_if_eq(&"super").is_some() {
                here.pop();
            }
        }
        _ => return None,
    }
    here.extend(rest);
    target(sources, &here)
}

fn layer_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|s| !is_root(s)) {
        let from = source.key();
        let Some(own) = layer(from) else {
            problems.push(format!("{}: has no layer", source.path));
            continue;
        };
        for path in source.paths() {
            let Some(to) = inside(sources, source, &path.segments) else { continue };
            let Some(other) = layer(&to) else {
                problems.push(format!("{}:{}: {to} has no layer", source.path, path.line));
                continue;
            };
            let family = top(from) == top(&to);
            // A pure file may name what its module's `mod.rs` defines, but no file above it.
            let fits = other < own || family && (other == own || to == top(&to));
            let meant = EDGES.iter().any(|(a, b, _)| *a == top(from) && *b == top(&to));
            let fits = fits || (meant && other == own);
            if !fits {
                let (file, line) = (&source.path, path.line);
                problems.push(format!("{file}:{line}: layer {own} uses {to} of layer {other}"));
            }
        }
    }
    problems
}

/// Whether a path is `name`, or goes on from it.
fn starts(segments: &[String], name: &str) -> bool {
    let mut parts = segments.iter();
    name.split("::").all(|part| parts.next().is_some_and(|s| s == part))
}

fn purity_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    let pure = |s: &&Source| !is_root(s) && layer(s.key()).is_some_and(|layer| layer <= 1);
    for source in sources.iter().filter(pure) {
        let file = source.path.as_str();
        let mut add = |line: usize, what: &str| {
            problems.push(format!("{file}:{line}: `{what}` in a pure file"));
        };
        let asynchronous = |text: &str| matches!(text, "async" | "await");
        for token in source.tokens.iter().filter(|token| asynchronous(&token.text)) {
            add(token.line, &token.text);
        }
        let allowed = |path: &[String]| {
            let here = |of: &str| of.is_empty() || of == file;
            IMPURE_ALLOWED.iter().any(|(of, name, _)| here(of) && starts(path, name))
        };
        for path in source.paths().iter().filter(|path| !allowed(&path.segments)) {
            for name in IMPURE.iter().filter(|name| starts(&path.segments, name)) {
                add(path.line, name);
            }
        }
    }
    problems
}

fn owner_problems(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let own = source.modules();
        let foreign = |name: &str| !own.contains(&name.split("::").next().unwrap_or(name));
        for path in source.paths() {
            let named = |(name, _): &&(&str, &[&str])| starts(&path.segments, name);
            for (name, owners) in OWNERS.iter().filter(named).filter(|(name, _)| foreign(name)) {
                if !owners.iter().any(|owner| source.path.starts_with(owner)) {
                    let (file, line) = (&source.path, path.line);
                    problems.push(format!("{file}:{line}: `{name}` belongs to {owners:?}"));
                }
            }
        }
    }
    problems
}

fn size_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let (file, lines) = (&source.path, source.lines);
    if lines > FILE_LINES_MAX {
        problems.push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    for function in source.functions().iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        let (line, name, lines) = (function.line, &function.name, function.lines);
        problems.push(format!("{file}:{line}: {name} has {lines} lines"));
    }
    problems
}

/// What holds for tests too.
fn text_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    if !source.text.starts_with("//! ") {
        problems.push(format!("{}: does not start with a //! line", source.path));
    }
    for (index, line) in source.text.lines().enumerate() {
        if line.chars().count() > LINE_CHARS_MAX {
            problems.push(format!("{}:{}: longer than 100", source.path, index + 1));
        }
    }
    problems
}

/// The modules of `lib.rs` that have no layer, or stand before one of a lower layer.
fn order_problems(lib: &Source) -> Vec<String> {
    let modules = lib.modules();
    let unknown = modules.iter().filter(|m| layer(m).is_none());
    let mut problems: Vec<String> = unknown.map(|m| format!("lib.rs: {m} has no layer")).collect();
    let known: Vec<&str> = modules.iter().copied().filter(|m| layer(m).is_some()).collect();
    for pair in known.windows(2).filter(|pair| layer(pair[0]) > layer(pair[1])) {
        problems.push(format!("lib.rs: {} stands before {}", pair[0], pair[1]));
    }
    problems
}

/// The names in the first cells (`` | `name` | ``) of the section with that heading.
fn table_names(readme: &str, heading: &str) -> BTreeSet<String> {
    let is_heading = |line: &&str| line.starts_with('#');
    let titled = |line: &&str| is_heading(line) && line.trim_start_matches('#').trim() == heading;
    let section = readme.lines().skip_while(|line| !titled(line)).skip(1);
    let rows = section.take_while(|line| !is_heading(line));
    let cell = |row: &str| {
        let cell = row.trim().strip_prefix('|')?.split('|').next()?;
        cell.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_owned)
    };
    rows.filter_map(cell).collect()
}

fn table_problems(readme: &str, heading: &str, registered: &[&str]) -> Vec<String> {
    let listed = table_names(readme, heading);
    let registered: BTreeSet<String> = registered.iter().map(|n| (*n).to_owned()).collect();
    let missing = registered.difference(&listed).map(|n| format!("{heading}: {n} is missing"));
    let extra = listed.difference(&registered).map(|n| format!("{heading}: {n} does not exist"));
    missing.chain(extra).collect()
}

/// Files that no registry names, and registered names without a file. `ours` is the file's stem.
fn registry_problems(folder: &str, stems: &[&str], names: &[&str]) -> Vec<String> {
    let files: BTreeSet<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    let stems: BTreeSet<String> = stems.iter().map(|stem| (*stem).to_owned()).collect();
    let lost = stems.difference(&files).map(|s| format!("{folder}{s}.rs is not registered"));
    let bare = files.difference(&stems).map(|s| format!("{folder}{s}.rs does not exist"));
    lost.chain(bare).collect()
}

/// The names of the files and folders right below a module.
fn stems<'a>(sources: &'a [Source], folder: &str) -> Vec<&'a str> {
    let below = |s: &'a Source| s.path.strip_prefix(folder);
    let stem = |rest: &'a str| top(rest).trim_end_matches(".rs");
    let mut stems: Vec<&str> = sources.iter().filter_map(below).map(stem).collect();
    stems.dedup();
    stems
}

/// The words of a program's text that can be names.
fn words(text: &str) -> Vec<String> {
    let part = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(part).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The code in a document that is the path of no file, or a name that no program has. Names are
/// told from other code by `::`, or by being of four words at least, as those of tests are.
fn name_problems(
    text: &str,
    known: &BTreeSet<String>,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let folders = ["src/", "tests/", "docs/", "systemd/"];
    let is_word = |part: &str| words(part) == [part];
    let found = |code: &&str| match code {
        path if folders.iter().any(|folder| path.starts_with(folder)) => exists(path),
        name if name.contains("::") || name.matches('_').count() >= 3 => {
            let mut parts = name.split("::");
            !parts.clone().all(is_word) || parts.all(|part| known.contains(part))
        }
        _ => true,
    };
    // Every second part stands between backquotes, line by line, but for fenced blocks.
    let lines = text.split("```").step_by(2).flat_map(str::lines);
    let code = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter(|code| !found(code)).map(str::to_owned).collect()
}

fn provider_names() -> Vec<&'static str> {
    provider::ALL.iter().map(|provider| provider.name()).collect()
}

fn format_names() -> Vec<&'static str> {
    export::ALL.iter().map(|format| format.name()).collect()
}

fn protocol_names() -> Vec<&'static str> {
    lookup::ALL.iter().map(|protocol| protocol.name()).collect()
}

#[test]
fn modules_use_lower_layers_only() {
    let sources = program();
    assert_none(&layer_problems(&sources));
    let lib = sources.iter().find(|s| s.path == "lib.rs").unwrap();
    assert_none(&order_problems(lib));
}

#[test]
fn pure_files_are_pure() {
    assert_none(&purity_problems(&program()));
}

#[test]
fn each_io_crate_has_one_owner() {
    assert_none(&owner_problems(&program()));
}

#[test]
fn files_functions_and_lines_are_short() {
    let problems: Vec<String> = program().iter().flat_map(size_problems).collect();
    assert_none(&problems);
    for folder in ["src", "tests"] {
        let problems: Vec<String> = sources(folder).iter().flat_map(text_problems).collect();
        assert_none(&problems);
    }
}

#[test]
fn each_provider_is_registered_and_has_fixtures() {
    let sources = program();
    let mut stems = stems(&sources, "provider/");
    stems.retain(|stem| !NO_PROVIDERS.contains(stem));
    assert_none(&registry_problems("provider/", &stems, &provider_names()));
    for name in provider_names() {
        let folder = root().join("tests/fixtures/provider").join(name);
        let any = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        assert!(any, "{} holds no fixtures", folder.display());
    }
}

#[test]
fn each_export_format_has_a_file() {
    let sources = program();
    let is_of = |name: &str, family: &str| name.starts_with(family) || name.ends_with(family);
    let family = |name: &&str| FAMILIES.iter().copied().find(|family| is_of(name, family));
    let mut files = format_names();
    files.iter_mut().for_each(|name| *name = family(&&**name).unwrap_or(*name));
    let mut stems = stems(&sources, "export/format/");
    stems.retain(|stem| !NO_FORMATS.contains(stem));
    assert_none(&registry_problems("export/format/", &stems, &files));
}

#[test]
fn each_lookup_protocol_has_a_file() {
    let sources = program();
    let names = protocol_names();
    let mut stems = stems(&sources, "lookup/");
    stems.retain(|stem| !NO_PROTOCOLS.contains(stem));
    assert_none(&registry_problems("lookup/", &stems, &names));
}

#[test]
fn readme_lists_what_is_registered() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert_none(&table_problems(&readme, "Providers", &provider_names()));
    assert_none(&table_problems(&readme, "Export formats", &format_names()));
    assert_none(&table_problems(&readme, "Live lookups", &protocol_names()));
}

#[test]
fn what_the_documents_name_exists() {
    let known: BTreeSet<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .flat_map(|path| words(&std::fs::read_to_string(path).unwrap()))
        .collect();
    for document in ["ARCHITECTURE.md", "README.md", "docs/mta/lookups.md", "docs/mta/postfix.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let exists = |path: &str| path.contains("NAME") || root().join(path).exists();
        let mut problems = name_problems(&text, &known, exists);
        // Names of metrics are in alerts, which stand in fenced blocks.
        let metrics = words(&text).into_iter().filter(|word| word.starts_with("suppressd_"));
        problems.extend(metrics.filter(|metric| !known.contains(metric)));
        assert!(problems.is_empty(), "{document}: {problems:?}");
    }
}

/// The checkers themselves: what each must find in a snippet that breaks its rule.
mod checkers {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(path, text)| Source::new(path, text)).collect()
    }

    #[test]
    fn an_import_from_above_is_found() {
        for (path, text) in [
            ("rules.rs", "use crate::provider::Page;"),
            ("rules.rs", "fn f() -> crate::store::Reader { g() }"),
            ("rules.rs", "use crate::{model::Time, store};"),
            ("store/writer.rs", "use crate::ingest::Ingest;"),
            ("store/writer.rs", "use super::super::ingest::Ingest;"),
            ("poll/runner.rs", "use crate::export::Settings;"),
            ("webhook.rs", "use crate::poll::Runner;"),
            ("webhook.rs", "use crate::lookup::Judge;"),
            ("http/mod.rs", "use crate::config::Config;"),
            ("supervise.rs", "use crate::config::Config;"),
            ("export/format/csv.rs", "use super::super::runner::Runner;"),
            ("poll/schedule.rs", "use crate::poll::runner::Runner;"),
            ("export/format/csv.rs", "use crate::fetch::Client;"),
            ("novel.rs", "use crate::model::Time;"),
        ] {
            let mut all = files(&[
                ("model/mod.rs", ""),
                ("provider/mod.rs", ""),
                ("store/mod.rs", ""),
                ("ingest/mod.rs", ""),
                ("fetch.rs", ""),
                ("lookup/mod.rs", ""),
                ("export/mod.rs", ""),
                ("export/runner.rs", ""),
                ("poll/mod.rs", ""),
                ("config/mod.rs", ""),
            ]);
            all.push(Source::new("poll/runner.rs", ""));
            all.push(Source::new(path, text));
            assert_eq!(layer_problems(&all).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn an_import_from_below_is_no_problem() {
        let all = files(&[
            ("model/mod.rs", "pub use time::Time;"),
            ("model/time.rs", "use super::Scope;"),
            ("clock.rs", "use crate::model::Time;"),
            ("fetch.rs", "use crate::clock;"),
            ("poll/mod.rs", "use crate::fetch::Client;"),
            ("poll/schedule.rs", "use crate::model::Time; use super::Every;"),
            ("admin.rs", "use crate::poll::Handle;"),
            ("rules.rs", "#[cfg(test)]\nmod tests { use crate::admin::Command; }"),
            ("config/mod.rs", "use crate::poll::schedule::next; // crate::daemon"),
        ]);
        assert_none(&layer_problems(&all));
    }

    #[test]
    fn an_impure_word_is_found() {
        for text in [
            "async fn f() {}",
            "use tokio::time;",
            "fn f() { std::fs::read(p); }",
            "use std::{fmt, fs};",
            "use std::net::TcpStream;",
            "use std::net::{IpAddr, ToSocketAddrs};",
            "use std::time::SystemTime;",
            "fn f() { let t = Instant::now(); }",
            "use crate::clock;",
            "fn f() { clock::now(); }",
        ] {
            for path in ["model/time.rs", "export/format/csv.rs", "poll/schedule.rs", "rules.rs"] {
                assert_eq!(purity_problems(&files(&[(path, text)])).len(), 1, "{path}: {text}");
            }
            assert_none(&purity_problems(&files(&[("store/mod.rs", text)])));
        }
        assert_none(&purity_problems(&files(&[("rules.rs", "use std::net::IpAddr;")])));
        let tested = "#[cfg(test)]\nmod tests { async fn f() { tokio::spawn(g()); } }";
        assert_none(&purity_problems(&files(&[("rules.rs", tested)])));
    }

    #[test]
    fn a_foreign_crate_is_found() {
        for (path, text) in [
            ("ingest/mod.rs", "use sled::Db;"),
            ("poll/runner.rs", "fn f(c: &reqwest::Client) {}"),
            ("control/mod.rs", "use hyper::server::conn::http1;"),
            ("cli/run.rs", "use toml::Table;"),
            ("daemon.rs", "use chrono::Utc;"),
            ("webhook.rs", "fn f() { tracing::info!(\"x\"); }"),
            ("export/runner.rs", "use std::fs::File;"),
            ("store/mod.rs", "use tokio::fs;"),
        ] {
            assert_eq!(owner_problems(&files(&[(path, text)])).len(), 1, "{path}: {text}");
        }
        let own = [
            ("store/writer.rs", "use sled::Db; use std::fs;"),
            ("http/mod.rs", "mod metrics; fn f() { metrics::page(); hyper::body(); }"),
            ("cli/configuration.rs", "use toml::Table;"),
        ];
        assert_none(&owner_problems(&files(&own)));
    }

    #[test]
    fn what_is_too_long_is_found() {
        let problems = |text: &str| {
            let source = Source::new("x.rs", text);
            size_problems(&source).len() + text_problems(&source).len()
        };
        let lines = |count: usize| "\n".repeat(count);
        assert_eq!(problems(&format!("//! x{}", lines(500))), 0);
        assert_eq!(problems(&format!("//! x{}", lines(501))), 1);
        let tests = format!("//! x\n#[cfg(test)]\nmod tests {{{}}}", lines(600));
        assert_eq!(problems(&tests), 0);
        assert_eq!(problems(&format!("//! x\nfn f() {{{}}}", lines(69))), 0);
        assert_eq!(problems(&format!("//! x\nfn f() {{{}}}", lines(70))), 1);
        assert_eq!(problems(&format!("//! {}", "ä".repeat(96))), 0);
        assert_eq!(problems(&format!("//! {}", "ä".repeat(97))), 1);
        assert_eq!(problems("fn f() {}"), 1, "no //! line");
    }

    #[test]
    fn files_of_tests_are_no_part_of_the_program() {
        let all = files(&[
            ("lib.rs", "pub mod rules;\npub mod export;"),
            ("rules.rs", ""),
            ("export/mod.rs", "mod rows;\n#[cfg(test)]\nmod test;"),
            ("export/rows.rs", ""),
            ("export/test.rs", ""),
        ]);
        let left: Vec<String> = without_tests(all).into_iter().map(|s| s.path).collect();
        assert_eq!(left, ["lib.rs", "rules.rs", "export/mod.rs", "export/rows.rs"]);
    }

    #[test]
    fn a_module_out_of_order_is_found() {
        let problems = |text: &str| order_problems(&Source::new("lib.rs", text)).len();
        assert_eq!(problems("pub mod model; pub mod rules; pub mod store;"), 0);
        assert_eq!(problems("pub mod rules; pub mod model;"), 1);
        assert_eq!(problems("pub mod model; pub mod novel;"), 1);
    }

    #[test]
    fn a_gap_in_a_registry_or_a_table_is_found() {
        assert_eq!(registry_problems("p/", &["a_b", "c"], &["a-b", "c"]), Vec::<String>::new());
        assert_eq!(registry_problems("p/", &["a_b", "c"], &["a-b"]).len(), 1);
        assert_eq!(registry_problems("p/", &["a_b"], &["a-b", "c"]).len(), 1);
        let readme = "# x\n## Providers\n| name | how |\n|---|---|\n| `a` | `b` |\n# Y\n| `c` |";
        assert_eq!(table_problems(readme, "Providers", &["a"]), Vec::<String>::new());
        assert_eq!(table_problems(readme, "Providers", &["a", "c"]).len(), 1);
        assert_eq!(table_problems(readme, "Providers", &[]).len(), 1);
        assert_eq!(table_problems("no table", "Providers", &["a"]).len(), 1);
    }

    #[test]
    fn a_name_of_nothing_is_found() {
        let known: BTreeSet<String> = words("fn append() {} struct Writer;").into_iter().collect();
        let problems = |text: &str| name_problems(text, &known, |path| path == "src/lib.rs").len();
        assert_eq!(problems("`src/lib.rs` `Writer::append` `tls` `a_b` `{ a::b }`"), 0);
        assert_eq!(problems("`src/nothing.rs`"), 1);
        assert_eq!(problems("x `Writer::remove`"), 1);
        assert_eq!(problems("a `name_of_no_test`, b"), 1);
        assert_eq!(problems("```sh\n`Writer::remove`\n```\n"), 0);
    }
}
