# The programs and what requirements.lock lists, for CPUs or for NVIDIA GPUs. How to run them is in
# docs/cluster.md.
#
#   docker build --tag=slim-zoo .
#   docker build --tag=slim-zoo:gpu --build-arg=EXTRAS=--gpu .

# The Python version with which CI runs all tests. Its patch releases are taken as they come; append
# @sha256:… to have the same files every time.
FROM python:3.11-slim-bookworm

# Logs appear at once, and `python` is that of the environment. The home directory holds caches; any
# user may write to it, because `docker run --user` takes numbers that the image does not know.
ENV HOME=/home/zoo PATH=/slim-zoo/.venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --uid=1000 --no-create-home --home-dir=$HOME zoo && \
    install --directory --mode=1777 $HOME
WORKDIR /slim-zoo

# The packages come first, so that a change of the programs does not install them again. EXTRAS are
# arguments to the script.
COPY requirements.lock ./
COPY scripts/setup_env.sh scripts/
ARG EXTRAS=
RUN PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 scripts/setup_env.sh $EXTRAS

# .dockerignore lists what this copies.
COPY . ./

# A number, so that Kubernetes' runAsNonRoot can check it.
USER 1000:1000

# A list and no shell, so that the signal by which a container is stopped reaches the program, which
# then saves.
CMD ["python", "train_image_classifier.py", "--help"]
