# One image for agent and collector. No shell, no package manager, no npm in it: Node, the libraries it is linked to,
# libbpf and the product.
FROM node:24-bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends clang llvm libbpf-dev libelf-dev zlib1g-dev make g++ ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /kerntap
COPY package.json package-lock.json .npmrc ./
RUN npm ci --loglevel=error --ignore-scripts
COPY tsconfig.json ./
COPY native native
COPY proto proto
COPY src src
# The bill of materials is of what is left: npm's own --omit=dev also leaves out what development packages share with it.
RUN make -s -C native && npx tsc -p tsconfig.json \
 && npm prune --omit=dev --ignore-scripts --loglevel=error \
 && npm pkg delete devDependencies \
 && npm sbom --sbom-format=cyclonedx > sbom.cdx.json
# The root of the image: what `ldd` names of node and of the addon, at its own place, and nothing else of Debian.
RUN mkdir -p /image/usr/local/bin /image/app/native/build /image/tmp /image/etc/ssl/certs /image/run/kerntap \
      /image/var/lib/kerntap \
 && cp /usr/local/bin/node /image/usr/local/bin/node \
 && cp -r dist proto package.json node_modules sbom.cdx.json /image/app/ \
 && cp native/build/kerntap.node native/build/*.bpf.o /image/app/native/build/ \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && for f in /usr/local/bin/node native/build/kerntap.node; do ldd "$f"; done \
    | awk '/=> \//{print $3} $1 ~ /^\// {print $1}' | sort -u \
    | while read -r lib; do mkdir -p "/image$(dirname "$lib")" && cp -L "$lib" "/image$lib"; done \
 && printf 'root:x:0:0:root:/:/\nkerntap:x:65532:65532:kerntap:/:/\n' > /image/etc/passwd \
 && printf 'root:x:0:\nkerntap:x:65532:\n' > /image/etc/group \
 && chmod 1777 /image/tmp && chown -R 65532:65532 /image/var/lib/kerntap
# `kerntap` on PATH: kubectl exec ... kerntap doctor
RUN printf '#!/usr/local/bin/node --enable-source-maps\n' > /image/usr/local/bin/kerntap \
 && printf "import('/app/dist/src/cli/main.js');\n" >> /image/usr/local/bin/kerntap \
 && chmod 755 /image/usr/local/bin/kerntap

FROM scratch
LABEL org.opencontainers.image.title="kerntap" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.description="Raw, attributed exec, file and socket events of every pod, from the kernel over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
ENV PATH=/usr/local/bin NODE_ENV=production
WORKDIR /app
ENTRYPOINT ["/usr/local/bin/node", "--enable-source-maps", "/app/dist/src/cli/main.js"]
CMD ["agent"]
