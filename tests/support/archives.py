"""Archives made in memory."""
import io
import tarfile
import zipfile


def pack(kind, entries):
    """Return an archive's bytes; ``entries`` are (name in it, bytes or path), kind is "tar", "tar.gz" or "zip"."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as bundle:
            for name, content in entries:
                bundle.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as tar:
            for name, content in entries:
                if isinstance(content, tarfile.TarInfo):
                    tar.addfile(content)
                    continue
                content = content if isinstance(content, bytes) else content.read_bytes()
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
