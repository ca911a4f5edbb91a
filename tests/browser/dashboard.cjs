// Drives the dashboard in Chromium: node dashboard.cjs URL TOKEN ADDRESS SCREENSHOTS
//
// Fails with the first thing that is not as it must be; says "ok" at the end.
"use strict";
const assert = require("node:assert");
const { chromium } = require("playwright-core");
const { default: Axe } = require("@axe-core/playwright");

const [url, token, address, screenshots] = process.argv.slice(2);

async function audit(page, what) {
  const { violations } = await new Axe({ page }).analyze();
  const shown = violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" | ")}`);
  assert.deepStrictEqual(shown, [], what);
}

async function main() {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    const problems = [];
    for (const [name, options] of Object.entries({
      light: { colorScheme: "light" },
      dark: { colorScheme: "dark" },
      phone: { colorScheme: "light", viewport: { width: 360, height: 720 } },
      narrow: { colorScheme: "dark", viewport: { width: 320, height: 568 } },
    })) {
      const page = await (await browser.newContext(options)).newPage();
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(`${name}: ${message.text()}`);
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(url)) problems.push(`${name}: ${request.url()}`);
      });
      for (const path of ["/", `/address?q=${encodeURIComponent(address)}`]) {
        await page.goto(url + path);
        await audit(page, `${name} ${path}`);
        const [wide, view] = await page.evaluate(() => [document.body.scrollWidth, innerWidth]);
        assert(wide <= view, `${name} ${path}: ${wide} px in ${view}`);
      }
      await page.goto(url + "/");
      // The policy has let the style sheet in.
      const styled = await page.evaluate(() => getComputedStyle(document.querySelector("header")).display);
      assert.strictEqual(styled, "flex");
      if (screenshots && name !== "narrow") await page.screenshot({ path: `${screenshots}/dashboard-${name}.png` });
      await page.context().close();
    }

    const page = await (await browser.newContext()).newPage();
    await page.goto(url + "/");
    assert.match(await page.locator("#refused").innerText(), /signature/i);
    assert.match(await page.locator("#held").innerText(), /Mass \d+/);
    // By the keyboard alone: the skip link, the search, and its button.
    await page.keyboard.press("Tab");
    assert.strictEqual(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    assert.strictEqual(await page.evaluate(() => document.activeElement.id), "q");
    await page.keyboard.type(address);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/address?q=*");
    assert.match(await page.locator("#state").innerText(), /suppressed hard_bounce/);
    assert.match(await page.locator("#exports").innerText(), /postfix\s+yes/);
    await page.fill("#token", "wrong");
    await page.click("button[value=lift]");
    assert.match(await page.locator("[role=alert]").innerText(), /token/);
    await page.goBack();
    await page.fill("#token", token);
    await page.click("button[value=lift]");
    await page.waitForURL("**done=lift*");
    assert.match(await page.locator("#state").innerText(), /Not suppressed/);
    assert.match(await page.locator("[role=status]").innerText(), /Lifted/);
    for (let turn = 0; ; turn++) {
      if (/postfix\s+no/.test(await page.locator("#exports").innerText())) break;
      assert(turn < 100, "the export follows");
      await page.waitForTimeout(100);
      await page.reload();
    }

    const plain = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
    await plain.goto(url + "/");
    for (const id of ["state", "sources", "charts", "refused", "held", "quarantine", "exports"]) {
      assert((await plain.locator(`#${id}`).innerText()).length > 0, `${id} without JavaScript`);
    }
    assert.deepStrictEqual(problems, []);
    console.log("ok");
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
