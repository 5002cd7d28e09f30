import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.train.config import read_config

MINIMAL = '[data]\nsections = ["maps/*"]\nholdout = "block"\n'


def write(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_globs_are_relative_to_the_file(tmp_path):
    config = read_config(write(tmp_path, MINIMAL))
    assert config.data.sections == (str(tmp_path.resolve() / "maps/*"),)
    assert config.canonical


def test_written_settings_are_read_back_unchanged(tmp_path):
    text = 'channels = ["Mg / (Mg + Fe)"]\nlayers = ["phases"]\nseed = 7\num_per_px = 4\n' + MINIMAL
    text += "[augment]\nzoom = [0.5, 2]\n[augment.channel_dropout]\nbse = 0.3\n[card]\nlicence = 'MIT'\n"
    config = read_config(write(tmp_path, text))
    assert config.augment.zoom == (0.5, 2.0)
    assert config.augment.channel_dropout == {"bse": 0.3}
    assert read_config(write(tmp_path, config.to_toml())) == config


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("sed = 1\n" + MINIMAL, "Unknown key of the configuration 'sed'. Did you mean 'seed'"),
        (MINIMAL + "[optim]\nbatchsize = 2\n", r"Unknown key of \[optim\] 'batchsize'. Did you mean 'batch_size'"),
        (MINIMAL + "[optim]\nprecision = 'fp16'\n", "Unknown precision"),
        ("layers = ['phase']\n" + MINIMAL, "Did you mean 'phases'"),
        (MINIMAL + "[augment.channel_dropout]\nbsee = 0.1\n", "Did you mean 'bse'"),
        (MINIMAL.replace("block", "blok"), "Unknown holdout 'blok'. Did you mean 'block'"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(tmp_path, text, match):
    with pytest.raises(UnknownNameError, match=match):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "sections is empty"),
        (MINIMAL + 'validation = ["a"]\n', "either validation"),
        (MINIMAL + "[optim]\nsteps = 1.5\n", "give int"),
        (MINIMAL + "[optim]\nsteps = 0\n", "between 1 and"),
        (MINIMAL + "[optim]\ntile_px = 100\n", "multiple of 32"),
        (MINIMAL + "[augment]\nzoom = [2, 1]\n", "smallest, largest"),
        (MINIMAL + "[augment.channel_dropout]\nbse = 0.8\nrandom = 0.4\n", "sum 1 or less"),
        ("layers = 'phases'\n" + MINIMAL, "'phases' of layers"),
        ("seed = [", "not valid TOML"),
    ],
)
def test_impossible_values_are_refused(tmp_path, text, match):
    with pytest.raises(InputError, match=match):
        read_config(write(tmp_path, text))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml cannot be read"):
        read_config(tmp_path / "none.toml")
