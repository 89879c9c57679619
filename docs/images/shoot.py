"""Take a picture of one table of a report's page: `shoot.py INDEX.html TABLE OUT.png`; needs chromium."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def shoot(page_file: Path, table: str, out: Path) -> None:
    """Write the table as it stands on the page, without what only a script adds."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900}, java_script_enabled=False)
        page.goto(page_file.resolve().as_uri())
        page.locator(f"section:has(#{table}) table").screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    shoot(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
