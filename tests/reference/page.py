# /// script
# requires-python = ">=3.11"
# dependencies = ["playwright==1.65.2"]
# ///
"""Uses the page of a running `aki serve` in headless Chromium as a person does, and checks what is seen.

    python tests/reference/page.py http://127.0.0.1:8080 --key KEY [--shots FOLDER]   # with a tiny model
    python tests/reference/page.py http://127.0.0.1:8080 --show docs                  # pictures of the README

The server must have a high limit of tokens, and the model must go on and on after "what is it?", as one does
that was hardly trained. For the pictures of the README it is the easy-VQA model, without a key.
"""

import argparse
import pathlib

from playwright.sync_api import expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ENDLESS = "what is it?"


class Page:
    """A page, with everything it asked for and complained about."""

    def __init__(self, browser, url, **context):
        self.url = url
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self.heard)
        self.page.goto(url)

    def heard(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def close(self):
        """Nothing was asked of anybody else, and nothing went wrong."""
        for request in self.requests:
            assert request.startswith((self.url, "data:", "blob:")), request
        # Chromium itself notes the refusals that are asked for here.
        wrong = [it for it in self.complaints if "status of 401" not in it and "status of 400" not in it]
        assert not wrong, wrong
        self.context.close()

    def pick(self, sample=1):
        self.page.get_by_role("button", name=f"Sample picture {sample}").click()
        expect(self.page.locator("#shown")).to_be_visible()
        expect(self.page.locator("#question")).not_to_have_value("")

    def ask(self, question, tokens=8, wait=True):
        answers = self.page.locator("#log .assistant")
        before = answers.count()
        self.page.evaluate("it => document.getElementById('tokens').value = it", str(tokens))
        self.page.fill("#question", question)
        self.page.press("#question", "Enter")
        expect(answers).to_have_count(before + 1)
        if wait:
            expect(self.page.locator("#log .waiting")).to_have_count(0, timeout=60_000)
        return answers.last

    def look(self):
        self.page.get_by_role("button", name="See the attention").last.click()
        expect(self.page.locator("#view")).to_be_visible(timeout=60_000)

    def ink(self, canvas):
        """How many pixels of a canvas are not grey."""
        return self.page.evaluate(
            """id => {
                const it = document.getElementById(id);
                const copy = new OffscreenCanvas(it.width, it.height).getContext("2d", { willReadFrequently: true });
                copy.drawImage(it, 0, 0);
                const { data } = copy.getImageData(0, 0, it.width, it.height);
                let count = 0;
                for (let n = 0; n < data.length; n += 4) count += data[n] > data[n + 2] + 8;
                return count;
            }""",
            canvas,
        )

    def shot(self, folder, name, **how):
        if folder:
            self.page.screenshot(path=str(pathlib.Path(folder) / name), **how)


def unnamed(page):
    """Controls without a name for those who hear the page."""
    return page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, canvas, img, summary")]
            .filter(it => it.checkVisibility() && !(it.getAttribute("aria-label") || it.labels?.[0]?.textContent.trim()
                || it.textContent.trim() || it.alt || it.querySelector("img")?.alt))
            .map(it => it.outerHTML)"""
    )


def conversation(browser, url, key, shots):
    it = Page(browser, url, color_scheme="light")
    page = it.page
    expect(page.locator("#error")).to_contain_text("API key is needed")
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    expect(page.locator("#error")).to_contain_text("API key is wrong")
    page.fill("#key", key)
    page.press("#key", "Enter")
    expect(page.locator("#key-form")).to_be_hidden()
    expect(page.locator("#model")).to_have_text("run")
    assert unnamed(page) == [], unnamed(page)

    it.pick()
    first = it.ask(ENDLESS)
    text = first.locator("p").first.inner_text()
    assert text.strip(), "no answer"
    expect(page.locator("#say")).to_contain_text("Answer:")
    expect(first).to_contain_text("The longest answer allowed.")
    # It comes in parts, and Esc stops it.
    endless = it.ask(ENDLESS, tokens=100_000, wait=False)
    line = endless.locator("p").first
    expect(line).not_to_be_empty()
    some = len(line.inner_text())
    page.wait_for_function("n => document.querySelector('#log .waiting p')?.textContent.length > n", arg=some)
    page.keyboard.press("Escape")
    expect(endless).to_contain_text("Stopped.")
    stopped = line.inner_text()
    page.wait_for_timeout(300)
    assert line.inner_text() == stopped
    # A message that cannot be is told, and the question is kept.
    page.evaluate("document.getElementById('temperature').value = '3'")
    page.fill("#question", "too hot")
    page.press("#question", "Enter")
    expect(page.locator("#error")).to_contain_text("temperature must be a number from 0 to 2")
    expect(page.locator("#question")).to_have_value("too hot")
    page.evaluate("document.getElementById('temperature').value = '0'")
    # Another picture is another chat.
    it.pick(2)
    expect(page.locator("#log li")).to_have_count(0)
    # Also while an answer is being made: that one is stopped.
    it.ask(ENDLESS, tokens=100_000, wait=False)
    it.pick(3)
    expect(page.locator("#log li")).to_have_count(0)
    expect(page.locator("#send")).to_be_enabled()
    # An answer that is stopped before its first word gives the question back.
    page.route("**/v1/chat/completions", lambda route: None)
    page.fill("#question", "never answered")
    page.press("#question", "Enter")
    expect(page.locator("#log .waiting")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#log li")).to_have_count(0)
    expect(page.locator("#question")).to_have_value("never answered")
    page.set_input_files("#file", files=[{"name": "no.txt", "mimeType": "text/plain", "buffer": b"no"}])
    expect(page.locator("#error")).to_contain_text("A PNG, JPEG")
    it.shot(shots, "conversation.png")
    it.close()


def attention(browser, url, key, shots):
    it = Page(browser, url, color_scheme="dark")
    page = it.page
    page.fill("#key", key)
    page.press("#key", "Enter")
    expect(page.locator("#model")).to_have_text("run")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light, dark
    it.pick()
    it.ask(ENDLESS)
    it.ask("is it a triangle?")
    it.look()
    words = page.locator("#words button.question")
    assert words.all_inner_texts() == ["what", "is", "it", "?", "is", "it", "a", "triangle", "?"]
    # The first question is what the picture sees: of causal attention there is nothing at all.
    words.nth(2).focus()
    expect(page.locator("#told")).to_contain_text("“it”")
    expect(page.locator("#told")).to_contain_text("row")
    expect(page.locator("#told")).to_contain_text("causal attention exactly nothing")
    assert it.ink("mma") > 1000 and it.ink("causal") == 0, (it.ink("mma"), it.ink("causal"))
    expect(page.locator("#causal-note")).to_contain_text("Exactly 0")
    expect(page.locator("#causal-note")).to_contain_text("The same weights answer here")
    told = page.locator("#told").inner_text()
    # The keyboard moves the sliders.
    page.locator("#head").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#head-said")).to_have_text("0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#head-said")).to_have_text("1")
    assert page.locator("#told").inner_text() != told
    page.locator("#layer").focus()
    page.keyboard.press("End")
    expect(page.locator("#layer-said")).to_have_text("0")
    # The second question stands behind what the rule unlocks.
    words.nth(7).hover()
    expect(page.locator("#mma-note")).to_contain_text("only the first question")
    assert it.ink("mma") == 0
    # Words look at the picture under both rules.
    page.get_by_label("word → picture").check()
    assert it.ink("mma") > 1000 and it.ink("causal") > 1000
    assert unnamed(page) == [], unnamed(page)
    it.shot(shots, "attention.png", full_page=True)
    # What was asked for another picture's chat is not drawn over this one.
    held = []
    page.route("**/api/attention", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="See the attention").last.click()
    expect(page.locator("#log button").last).to_have_text("Looking …")
    page.wait_for_timeout(200)
    it.pick(2)
    with page.expect_response(lambda reply: '"causal"' in (reply.request.post_data or "")):
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#view")).to_be_hidden()
    it.close()


def narrow(browser, url, key, shots):
    it = Page(browser, url, viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = it.page
    # With the keyboard alone: the key, a sample, a question, the attention, a word.
    page.locator("#key").focus()
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_text("run")

    def tab_to(selector, limit=60):
        for _ in range(limit):
            page.keyboard.press("Tab")
            if page.evaluate("it => document.activeElement.matches(it)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    page.evaluate("document.activeElement.blur()")
    page.locator("#theme").focus()
    tab_to("#samples button")
    page.keyboard.press("Enter")
    expect(page.locator("#question")).not_to_have_value("")
    tab_to("#question")
    page.keyboard.press("Control+A")
    page.keyboard.type(ENDLESS)
    page.evaluate("document.getElementById('tokens').value = '6'")
    page.keyboard.press("Enter")
    expect(page.locator("#log .waiting")).to_have_count(0, timeout=60_000)
    page.locator("#theme").focus()
    tab_to("#log button")
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_visible(timeout=60_000)
    tab_to("#words button")
    expect(page.locator("#told")).to_contain_text("“what”")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, wide
    it.shot(shots, "narrow.png", full_page=True)
    it.close()


def show(browser, url, folder):
    """The pictures of the README."""
    for scheme in ("light", "dark"):
        it = Page(browser, url, color_scheme=scheme, viewport={"width": 1180, "height": 640})
        it.pick(1)
        it.ask("what is the red shape?", 32)
        it.ask("is there a triangle?", 32)
        it.page.locator("#question").blur()
        it.shot(folder, f"page-{scheme}.png")
        it.close()
    it = Page(browser, url, color_scheme="light", viewport={"width": 1180, "height": 900})
    it.pick(2)
    it.ask("what is the color of the triangle?", 32)
    it.look()
    it.page.locator("#words button", has_text="triangle").hover()
    it.page.locator("#view").screenshot(path=str(pathlib.Path(folder) / "page-attention.png"))
    it.close()
    it = Page(browser, url, color_scheme="dark", viewport={"width": 360, "height": 740})
    it.pick(2)
    it.ask("what is the color of the triangle?", 32)
    it.shot(folder, "page-narrow.png", full_page=True)
    it.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--shots", help="a folder for pictures of what is seen")
    parser.add_argument("--show", help="a folder for the pictures of the README, and no checks")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        if args.show:
            show(browser, args.url, args.show)
        else:
            for check in (conversation, attention, narrow):
                check(browser, args.url, args.key, args.shots)
            print("all of it is as it should be")
        browser.close()


if __name__ == "__main__":
    main()
