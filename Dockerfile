# perigee in an image that holds the binary, the CA certificates by which origins are verified, and nothing else: no
# shell, no package manager, no root. Build it at the top of the repository (BuildKit, or podman/buildah):
#
#   docker build -t perigee .
#
# cmd/perigee/deploy_test.go runs the RUN lines below outside of Docker and starts what they make in an empty root.

FROM golang:1.26 AS build
ENV GOCACHE=/cache/build GOMODCACHE=/cache/modules
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/cache CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /image/perigee ./cmd/perigee
RUN mkdir -p /image/etc/ssl/certs /image/etc/perigee /volumes/var/cache/perigee /volumes/var/lib/perigee
RUN cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
COPY --from=build /image /
# The folders that perigee writes to belong to its user; what it is and how it is configured does not.
COPY --from=build --chown=65532:65532 /volumes /
USER 65532:65532

# Stored responses; state, such as certificates. This version keeps both in memory and writes to neither.
VOLUME ["/var/cache/perigee", "/var/lib/perigee"]

# Ports below 1024 need no privilege where net.ipv4.ip_unprivileged_port_start is 0, as Docker sets it inside of
# containers. Where it is not (--network host, some other engines): --sysctl net.ipv4.ip_unprivileged_port_start=0, or
# listen on 8080 and 8443 and publish those as 80 and 443.
EXPOSE 80 443

# It asks 127.0.0.1:9180, the default of listen.admin, inside of the container.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["/perigee", "healthcheck"]

# SIGTERM lets running responses finish, for 30 s at most: give the engine more than that (docker stop -t 40).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/perigee"]
CMD ["run", "--config", "/etc/perigee/perigee.yaml"]
