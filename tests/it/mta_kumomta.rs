//! The policy of `docs/mta/kumomta.md` in the Lua that KumoMTA has, with a stand-in for what of
//! KumoMTA it calls: Debian has no KumoMTA.

use std::path::Path;
use std::process::Command;

use crate::support::available;
use crate::support::daemon::{Home, PATIENCE, source};
use crate::support::mta::{Scene, code_of};
use crate::support::page::{block, lines};

const LUA: &str = "lua5.4";

/// What the page has as the path.
const LIST: &str = "/opt/kumomta/etc/suppressd/suppressed.json";

/// Asks both handlers of a policy about a recipient, and says what they answer.
const STAND_IN: &str = r#"
local cjson, handlers = require 'cjson', {}
kumo = {
  on = function(event, handler)
    handlers[event] = handler
  end,
  json_load = function(path)
    local file = assert(io.open(path))
    local text = file:read 'a'
    file:close()
    return cjson.decode(text)
  end,
  reject = function(code, text)
    error { code = code, text = text }
  end,
}
dofile(arg[1])
local recipient = setmetatable({}, { __tostring = function() return arg[2] end })
local function answer(event, subject)
  local accepted, rejection = pcall(handlers[event], subject)
  if accepted then
    return '250 OK'
  end
  return rejection.code .. ' ' .. rejection.text
end
local message = { recipient = function() return recipient end }
print(answer('smtp_server_rcpt_to', recipient))
print(answer('http_message_generated', message))
"#;

fn missing() -> Option<String> {
    let found = Command::new(LUA).args(["-e", "require 'cjson'"]).output();
    let works = found.is_ok_and(|output| output.status.success());
    (!works).then(|| "lua5.4 with cjson (Debian: lua5.4, lua-cjson)".to_owned())
}

fn ask(policy: &Path, address: &str) -> (u16, String) {
    let script = policy.with_file_name("stand-in.lua");
    let output = Command::new(LUA).arg(script).arg(policy).arg(address).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let (smtp, http) = answers.trim_end().split_once('\n').unwrap();
    assert_eq!(smtp, http, "{address}");
    let (code, text) = smtp.split_once(' ').unwrap();
    (code.parse().unwrap(), text.to_owned())
}

#[test]
fn a_webhook_makes_the_policy_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_the_policy_refuse", missing()) {
        return;
    }
    let home = Home::new("");
    let (policy, list) = (home.dir.join("policy.lua"), home.dir.join("list.json"));
    let export = block("kumomta", "toml").replace(LIST, &list.display().to_string());
    home.configure(&format!("{}{export}", source()));
    std::fs::write(&policy, lines("kumomta", &home.config())).unwrap();
    std::fs::write(home.dir.join("stand-in.lua"), STAND_IN).unwrap();
    let daemon = home.start().ready();
    let scene = Scene {
        daemon: &daemon,
        export: "kumomta",
        ask: &|address| ask(&policy, address),
        refusal: &|reason| format!("{} suppressed: {reason}", code_of(reason)),
        patience: PATIENCE,
    };
    scene.promise();
    scene.corpus();
    daemon.stop();
}
