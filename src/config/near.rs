//! Which of the known words a misspelled one was meant to be.

/// Most edits by which a word may differ from the one that was meant.
const EDITS_MAX: usize = 2;

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let near = known.into_iter().map(|candidate| (edits(&folded, &fold(candidate)), candidate));
    // Of a short word, two edits may leave nothing.
    let limit = EDITS_MAX.min(folded.len() / 3);
    near.filter(|(edits, _)| *edits <= limit).min().map(|(_, candidate)| candidate)
}

/// What providers, other programs and people call things, and what they are called here.
const ALIASES: &[(&str, &[&str])] = &[
    ("access_key_id", &["access_key"]),
    ("address", &["listen"]),
    ("api_token", &["api_key", "server_token", "bearer"]),
    ("arn", &["topic_arns"]),
    ("aws", &["amazon-ses"]),
    ("aws_access_key_id", &["access_key"]),
    ("aws_region", &["region"]),
    ("aws_secret_access_key", &["secret_key"]),
    ("aws_session_token", &["session_token"]),
    ("aws_ses", &["amazon-ses"]),
    ("bind", &["listen"]),
    ("cert", &["certificate"]),
    ("client_secret", &["api_key"]),
    ("database", &["store"]),
    ("domain", &["domains"]),
    ("events", &["feeds"]),
    ("exports", &["export"]),
    ("fullchain", &["certificate"]),
    ("hmac", &["secret"]),
    ("hmac_secret", &["secret"]),
    ("interval", &["every"]),
    ("key", &["api_key", "secret", "public_key"]),
    ("lookups", &["lookup"]),
    ("mailchimp", &["mandrill"]),
    ("password", &["basic"]),
    ("private_key", &["key", "secret_key"]),
    ("public_api_key", &["api_key"]),
    ("scaleway", &["scaleway-tem"]),
    ("schedule", &["cron"]),
    ("secret_access_key", &["secret_key"]),
    ("sendinblue", &["brevo"]),
    ("ses", &["amazon-ses"]),
    ("signature", &["secret"]),
    ("signing_key", &["secret", "public_key"]),
    ("signing_secret", &["secret", "public_key"]),
    ("sns_topic_arn", &["topic_arns"]),
    ("sources", &["source"]),
    ("state_dir", &["path"]),
    ("svix", &["standard-webhooks"]),
    ("tem", &["scaleway-tem"]),
    ("token", &["api_key", "server_token", "bearer", "secret"]),
    ("topic", &["topic_arns"]),
    ("topic_arn", &["topic_arns"]),
    ("twilio", &["sendgrid"]),
    ("unisender", &["unisender-go"]),
    ("user", &["basic", "owner"]),
    ("username", &["basic"]),
    ("verification_key", &["public_key", "secret"]),
    ("webhook_key", &["secret", "public_key"]),
    ("webhook_secret", &["secret", "public_key"]),
    ("webhook_signing_key", &["secret", "public_key"]),
    ("webhook_verification_key", &["public_key", "secret"]),
];

/// The known word that somebody means who calls it as others do.
pub(super) fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = fold(word).into_iter().collect();
    let (_, ours) = ALIASES.iter().find(|(alias, _)| *alias == word)?;
    ours.iter().find_map(|ours| known.iter().find(|known| *known == ours)).copied()
}

/// The words as a list for people.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn fold(word: &str) -> Vec<char> {
    word.to_lowercase().replace('-', "_").chars().collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["listen", "public_url", "tls", "body_max", "for"];
        for (word, meant) in [
            ("listen", Some("listen")),
            ("lsiten", Some("listen")),
            ("LISTEN", Some("listen")),
            ("public-url", Some("public_url")),
            ("bodymax", Some("body_max")),
            ("tsl", Some("tls")),
            ("tl", None),
            ("zzzzzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word:?}");
        }
    }
}
