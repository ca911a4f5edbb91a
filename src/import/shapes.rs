//! What is known of the lists that services export: their columns, and what they say.
//!
//! A table, the most special first. Where a service documents a list, its page is named; the rest
//! is what readers of real files agree on.

use super::cells::Cells;
use super::particular::{
    brevo, listed, mailgun_tags, mailtrap, postal, postmark, sparkpost, sparkpost_covers, stream,
};
use super::words::Said;
use crate::model::{Reason, Scope};

/// What says why a row is suppressed.
pub(super) enum Says {
    /// That the list is what it is.
    Always(Reason),
    /// A word in one of these columns.
    Word(&'static [&'static str]),
    /// More than a word.
    By(fn(&Cells) -> Said),
    /// The name of the file, by a part of it; a part without a reason is of a list of another kind.
    FileName(&'static [(&'static str, Option<Reason>)]),
    /// Nothing does: it is a list of all contacts, or of something else.
    Nothing,
    /// It is a list of those who may be mailed.
    Allowed,
}

/// What a row covers.
pub(super) enum Covers {
    /// All mail.
    All,
    /// The scope in this column, in our words. What another service means by such a column is not
    /// known.
    Scope(&'static str),
    /// The stream that is named in this column.
    Stream(&'static str),
    /// The stream whose number stands behind this in the file's name, if it is there.
    FileName(&'static str),
    /// As this says.
    By(fn(&Cells, Reason) -> Vec<Scope>),
}

/// A list that is recognised by its columns.
pub(super) struct Shape {
    /// The format, as it is named on the command line or by its maker.
    pub(super) format: &'static str,
    /// Which list of it.
    pub(super) list: &'static str,
    /// Columns that must be there.
    pub(super) has: &'static [&'static str],
    /// Whether there may be no others.
    pub(super) is_exact: bool,
    /// Parts of its file's name, of which one must be there unless the format was named: lists of
    /// contacts may have these columns too. Empty: only such a list has them.
    pub(super) named: &'static [&'static str],
    /// Where the address is.
    pub(super) address: &'static [&'static str],
    pub(super) says: Says,
    /// Where it stands since when.
    pub(super) since: &'static [&'static str],
    /// And until when.
    pub(super) until: &'static [&'static str],
    /// And what was said.
    pub(super) note: &'static [&'static str],
    pub(super) covers: Covers,
    /// A column that must say yes for the row to count.
    pub(super) only: Option<&'static str>,
}

const BASE: Shape = Shape {
    format: "",
    list: "",
    has: &[],
    is_exact: false,
    named: &[],
    address: &["email"],
    says: Says::Nothing,
    since: &["createdat"],
    until: &[],
    note: &[],
    covers: Covers::All,
    only: None,
};

/// Names of columns with an address, in the order of trust.
pub(super) const ADDRESSES: &[&str] = &[
    "email",
    "emailaddress",
    "address",
    "recipient",
    "recipientemail",
    "mail",
    "subscriber",
    "to",
    "emailadresse",
    "mailadresse",
    "courriel",
    "adresseemail",
    "correo",
    "correoelectronico",
];

/// Names of columns that may say why.
const REASONS: &[&str] =
    &["reason", "suppressionreason", "bouncetype", "type", "status", "event", "category"];

const SINCE: &[&str] = &[
    "since",
    "createdat",
    "created",
    "date",
    "timestamp",
    "time",
    "bouncedat",
    "blockedat",
    "lastupdatetime",
    "updatedat",
    "dateadded",
    "dateupdated",
];
const UNTIL: &[&str] = &["until", "expiresat", "expires", "keepuntil"];
const NOTE: &[&str] = &["note", "comment", "description", "detail", "error", "message"];

/// Columns that say why, in no list that is known.
pub(super) const COLUMNS: Shape = Shape {
    format: "columns",
    list: "a list that says why",
    address: ADDRESSES,
    says: Says::Word(REASONS),
    since: SINCE,
    until: UNTIL,
    note: NOTE,
    covers: Covers::Scope("scope"),
    ..BASE
};

/// Columns that do not.
pub(super) const CONTACTS: Shape =
    Shape { list: "a list that does not say why", says: Says::Nothing, ..COLUMNS };

/// Addresses and nothing else.
pub(super) const PLAIN: Shape =
    Shape { format: "plain", list: "addresses", address: &["address"], ..BASE };

/// Every list that is known, the most special first.
pub(super) const ALL: &[Shape] = &[
    // `list --json`, and the exports `csv` and `json-lines`.
    Shape {
        format: "suppressd",
        list: "suppressions",
        has: &["address", "reason", "since", "until"],
        address: &["address"],
        says: Says::Word(&["reason"]),
        since: &["since"],
        until: &["until"],
        note: &["note"],
        covers: Covers::Scope("scope"),
        ..BASE
    },
    // documentation.mailgun.com, allowlist; Mandrill's allowlist.csv.
    Shape {
        format: "mandrill",
        list: "the allow list",
        has: &["email", "detail", "createdat"],
        is_exact: true,
        says: Says::Allowed,
        ..BASE
    },
    Shape {
        format: "mailgun",
        list: "the allow list",
        has: &["address", "domain"],
        is_exact: true,
        says: Says::Allowed,
        ..BASE
    },
    Shape {
        format: "mailgun",
        list: "the allow list",
        has: &["type", "value", "reason", "createdat"],
        says: Says::Allowed,
        ..BASE
    },
    Shape {
        format: "mailchimp",
        list: "unsubscribed",
        has: &["leid", "euid", "unsubtime"],
        address: &["emailaddress"],
        says: Says::Always(Reason::Unsubscribe),
        since: &["unsubtime"],
        note: &["unsubreasonother", "unsubreason"],
        ..BASE
    },
    Shape {
        format: "mailchimp",
        list: "cleaned",
        has: &["leid", "euid", "cleantime"],
        address: &["emailaddress"],
        says: Says::Always(Reason::HardBounce),
        since: &["cleantime"],
        ..BASE
    },
    Shape {
        format: "mailchimp",
        list: "contacts",
        has: &["leid", "euid"],
        address: &["emailaddress"],
        // `unsubscribed` holds `subscribed`: it must come first.
        says: Says::FileName(&[
            ("unsubscribed", Some(Reason::Unsubscribe)),
            ("cleaned", Some(Reason::HardBounce)),
            ("subscribed", None),
        ]),
        since: &["lastchanged"],
        ..BASE
    },
    // listmonk, cmd/subscribers.go.
    Shape {
        format: "listmonk",
        list: "subscribers",
        has: &["uuid", "email", "attributes", "status"],
        says: Says::Word(&["status"]),
        since: &["updatedat"],
        ..BASE
    },
    // docs.sendgrid.com, suppressions: bounces, blocks, invalid e-mails, spam reports, groups.
    Shape {
        format: "sendgrid",
        list: "bounces or blocks",
        has: &["status", "reason", "email", "created"],
        says: Says::FileName(&[("bounce", Some(Reason::HardBounce)), ("block", None)]),
        since: &["created"],
        note: &["reason"],
        ..BASE
    },
    Shape {
        format: "sendgrid",
        list: "spam reports",
        has: &["ip", "email", "created"],
        named: &["spam"],
        says: Says::Always(Reason::Complaint),
        since: &["created"],
        ..BASE
    },
    Shape {
        format: "sendgrid",
        list: "invalid addresses",
        has: &["reason", "email", "created"],
        named: &["invalid"],
        says: Says::Always(Reason::Invalid),
        since: &["created"],
        note: &["reason"],
        ..BASE
    },
    Shape {
        format: "sendgrid",
        list: "unsubscriptions of groups",
        has: &["email", "groupid", "groupname", "createdat"],
        is_exact: true,
        says: Says::Always(Reason::Unsubscribe),
        covers: Covers::Stream("groupid"),
        ..BASE
    },
    Shape {
        format: "sendgrid",
        list: "unsubscriptions",
        has: &["email", "created"],
        is_exact: true,
        named: &["asm_groups_", "suppression", "unsubscri"],
        says: Says::Always(Reason::Unsubscribe),
        since: &["created"],
        covers: Covers::FileName("asm_groups_"),
        ..BASE
    },
    // mailchimp.com/developer, Mandrill: exports/rejects.
    Shape {
        format: "mandrill",
        list: "rejects",
        has: &["email", "reason", "lasteventat", "expiresat"],
        says: Says::Word(&["reason"]),
        until: &["expiresat"],
        note: &["detail"],
        ..BASE
    },
    // developers.sparkpost.com, suppression list; its site's template for uploads.
    SPARKPOST,
    Shape { has: &["recipient", "nontransactional"], ..SPARKPOST },
    Shape { has: &["email", "transactional", "nontransactional"], ..SPARKPOST },
    // postmarkapp.com/developer: suppressions, bounces.
    Shape {
        format: "postmark",
        list: "suppressions",
        has: &["emailaddress", "suppressionreason"],
        address: &["emailaddress"],
        says: Says::By(postmark),
        ..BASE
    },
    Shape {
        format: "postmark",
        list: "bounces",
        has: &["email", "type", "inactive", "bouncedat"],
        says: Says::By(|cells| listed(cells.get("type"))),
        since: &["bouncedat"],
        note: &["details", "description"],
        only: Some("inactive"),
        ..BASE
    },
    // developers.smtp2go.com: suppressions.
    Shape {
        format: "smtp2go",
        list: "suppressions",
        has: &["emailaddress", "reason", "blockdescription"],
        address: &["emailaddress"],
        says: Says::Word(&["reason"]),
        since: &["timestamp"],
        note: &["blockdescription"],
        ..BASE
    },
    // docs.aws.amazon.com, SES API version 2: ListSuppressedDestinations, import jobs.
    SES,
    Shape { has: &["emailaddress", "reason"], is_exact: true, ..SES },
    Shape { has: &["suppresseddestinationemailaddress"], ..SES },
    // developers.brevo.com: blocked contacts; contacts.
    Shape {
        format: "brevo",
        list: "blocked contacts",
        has: &["email", "reasoncode"],
        says: Says::Word(&["reasoncode"]),
        since: &["blockedat"],
        note: &["reasonmessage"],
        covers: Covers::By(brevo),
        ..BASE
    },
    Shape {
        format: "brevo",
        list: "contacts",
        has: &["email", "emailblacklisted"],
        says: Says::Always(Reason::ProviderListed),
        // When a contact was made is not when it was blocked.
        since: &[],
        only: Some("emailblacklisted"),
        ..BASE
    },
    Shape { format: "brevo", list: "contacts", has: &["email", "addedtime"], since: &[], ..BASE },
    // documentation.mailgun.com: imports of bounces, unsubscribes and complaints.
    Shape {
        format: "mailgun",
        list: "bounces",
        has: &["address", "code", "error"],
        address: &["address"],
        says: Says::Always(Reason::HardBounce),
        note: &["error"],
        ..BASE
    },
    MAILGUN_UNSUBSCRIBES,
    Shape { has: &["address", "tag"], ..MAILGUN_UNSUBSCRIBES },
    Shape {
        format: "mailgun",
        list: "complaints",
        has: &["address", "createdat"],
        is_exact: true,
        named: &["complaint", "spam"],
        address: &["address"],
        says: Says::Always(Reason::Complaint),
        ..BASE
    },
    // dev.mailjet.com: contacts.
    Shape {
        format: "mailjet",
        list: "contacts",
        has: &["email", "isexcludedfromcampaigns"],
        says: Says::Always(Reason::Unsubscribe),
        since: &["exclusionfromcampaignsupdatedat"],
        covers: Covers::By(|_, _| stream("campaigns")),
        only: Some("isexcludedfromcampaigns"),
        ..BASE
    },
    // api-docs.mailtrap.io: suppressions.
    Shape {
        format: "mailtrap",
        list: "suppressions",
        has: &["email", "type", "sendingstream"],
        says: Says::Word(&["type"]),
        covers: Covers::By(mailtrap),
        ..BASE
    },
    // developers.mailersend.com: suppressions. Patterns are no addresses, and are told.
    Shape {
        format: "mailersend",
        list: "suppressions",
        has: &["recipientemail"],
        address: &["recipientemail", "pattern"],
        says: Says::Word(&["reason", "type"]),
        ..BASE
    },
    // resend.com/docs: suppressions, contacts.
    Shape {
        format: "resend",
        list: "suppressions",
        has: &["email", "origin", "createdat"],
        says: Says::Word(&["origin"]),
        ..BASE
    },
    Shape {
        format: "resend",
        list: "contacts",
        has: &["email", "unsubscribed"],
        says: Says::Always(Reason::Unsubscribe),
        since: &[],
        only: Some("unsubscribed"),
        ..BASE
    },
    // Postal, its table `suppressions`.
    Shape {
        format: "postal",
        list: "suppressions",
        has: &["address", "type", "keepuntil"],
        address: &["address"],
        says: Says::By(postal),
        since: &["timestamp"],
        until: &["keepuntil"],
        note: &["reason"],
        ..BASE
    },
    // Keila, its export of contacts.
    Shape {
        format: "keila",
        list: "contacts",
        has: &["email", "status", "externalid"],
        says: Says::Word(&["status"]),
        since: &[],
        ..BASE
    },
];

const SPARKPOST: Shape = Shape {
    format: "sparkpost",
    list: "suppressions",
    has: &["recipient", "type"],
    address: &["recipient", "email"],
    says: Says::By(sparkpost),
    since: &["created"],
    note: &["description"],
    covers: Covers::By(sparkpost_covers),
    ..BASE
};

const SES: Shape = Shape {
    format: "ses",
    list: "suppressed destinations",
    has: &["emailaddress", "reason", "lastupdatetime"],
    address: &["emailaddress", "suppresseddestinationemailaddress"],
    says: Says::Word(&["reason", "suppresseddestinationreason"]),
    since: &["lastupdatetime", "suppresseddestinationlastupdatetime"],
    ..BASE
};

const MAILGUN_UNSUBSCRIBES: Shape = Shape {
    format: "mailgun",
    list: "unsubscribes",
    has: &["address", "tags"],
    named: &["unsubscri", "suppression"],
    address: &["address"],
    says: Says::Always(Reason::Unsubscribe),
    covers: Covers::By(mailgun_tags),
    ..BASE
};
