# The image of `aside`: one static binary on a base without shell or package manager, run by
# a user without rights.
#
#   docker build --build-arg VERSION=$(git describe --tags --match 'v*') \
#       --build-arg REVISION=$(git rev-parse HEAD) --tag aside .
#   docker run --publish 127.0.0.1:8000:8000 --volume aside:/home/nonroot aside
#   docker run --env ASIDE_REDIS=redis://cache1 --env ASIDE_MONGO=mongodb://db1 ... aside
#
# The service knows no users: read SECURITY.md before you publish its port to others.

# On the machine's own platform, for that of the image: Go needs no emulator.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first: they are fetched again only if a go.mod changes.
COPY go.mod go.sum go.work go.work.sum ./
COPY asideotel/go.mod asideotel/go.sum asideotel/
COPY asideprom/go.mod asideprom/go.sum asideprom/
COPY cmd/aside/go.mod cmd/aside/go.sum cmd/aside/
COPY mongofeed/go.mod mongofeed/go.sum mongofeed/
COPY pgfeed/go.mod pgfeed/go.sum pgfeed/
COPY redisl2/go.mod redisl2/go.sum redisl2/
COPY tests/go.mod tests/go.sum tests/
RUN go mod download
COPY . .
ARG TARGETOS=linux TARGETARCH
ARG VERSION= REVISION=
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags="-s -w -X 'main.release=$VERSION' -X 'main.commit=$REVISION'" -o /out/aside ./cmd/aside

FROM gcr.io/distroless/static-debian12:nonroot AS base
ARG VERSION= REVISION=
LABEL org.opencontainers.image.title="aside" \
      org.opencontainers.image.description="A todo service, cache-aside over Redis, MongoDB and PostgreSQL" \
      org.opencontainers.image.source="https://github.com/asidecache/aside" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 65532:65532
# That user's home, the one directory that it may write to.
WORKDIR /home/nonroot
ENV ASIDE_LISTEN=:8000 ASIDE_DATA=/home/nonroot/aside-data
EXPOSE 8000
VOLUME /home/nonroot
# With another ASIDE_LISTEN, or with TLS, set ASIDE_HEALTH_URL too.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/aside", "health"]
ENTRYPOINT ["/aside"]
CMD ["serve"]

# What a release is made of: the binaries are built already (.goreleaser.yaml).
FROM base AS released
ARG TARGETPLATFORM
COPY --chmod=0755 $TARGETPLATFORM/aside /aside

FROM base
COPY --from=build /out/aside /aside
