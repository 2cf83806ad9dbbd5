// Opens the page at /graphiql in a browser, runs its documents as several callers, and prints what was seen.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [executablePath, url, screenshots] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'graphiql-'));
const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
const context = await chromium.launchPersistentContext(profile, {
  executablePath, args, headless: true, viewport: { width: 1400, height: 900 },
});
const seen = { requests: [], sockets: [], complaints: [], callers: [], tabs: [], answers: {} };
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on('request', (request) => seen.requests.push(request.url()));
  page.on('websocket', (socket) => seen.sockets.push(socket.url()));
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text());
  });
  await page.addInitScript(() => {
    globalThis.editorOf = (part) => document.querySelector(`.${part} .CodeMirror`)?.CodeMirror;
  });
  await page.goto(url, { waitUntil: 'networkidle' });
  const callers = page.locator('.creditdesk-caller select');
  seen.callers = (await callers.count()) ? await callers.locator('option').allTextContents() : [];
  const tabs = page.locator('[role=tab]');
  seen.tabs = await tabs.allInnerTexts();
  for (const caller of ['OWNER', 'MEMBER'].filter((name) => seen.callers.includes(name))) {
    await callers.selectOption(caller);
    seen.answers[caller] = {};
    for (const [index, tab] of seen.tabs.entries()) {
      await tabs.nth(index).click();
      // What is run is named after the editor has read it.
      await page.waitForFunction((name) => editorOf('graphiql-query-editor').operationName === name, tab);
      const isLive = tab.endsWith('Subscription');
      const asked = (one) => one.url().endsWith('/graphql') && one.request().method() === 'POST';
      const answered = isLive ? null : page.waitForResponse(asked);
      await page.locator('.graphiql-execute-button').click();
      if (answered) await (await answered).finished();
      await page.waitForFunction(() => editorOf('result-window').getValue() !== '');
      seen.answers[caller][tab] = JSON.parse(await page.evaluate(() => editorOf('result-window').getValue()));
      if (screenshots) await page.screenshot({ path: join(screenshots, `${caller}-${tab}.png`) });
      if (isLive) await page.locator('.graphiql-execute-button').click();
    }
  }
  await page.locator('.graphiql-sidebar button').first().click();
  await page.locator('.graphiql-doc-explorer a', { hasText: 'Query' }).first().click();
  seen.documented = await page.locator('.graphiql-doc-explorer-title').innerText();
  await page.locator('.graphiql-sidebar button').last().click();
  await page.locator('.graphiql-dialog').waitFor();
  if (screenshots) await page.screenshot({ path: join(screenshots, 'documentation.png') });
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(seen));
