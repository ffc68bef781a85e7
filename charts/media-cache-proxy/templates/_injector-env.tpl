{{/* The settings of the webhook, as a list of EnvVar objects. */}}
{{- define "mcp.injectorEnv" -}}
{{- $name := include "mcp.injector" . -}}
{{- $tls := .Values.injector.tls -}}
{{- $sidecar := .Values.sidecar -}}
{{/* null means none: no limits, and the default requests of the webhook. */}}
{{- $resources := $sidecar.resources | default dict -}}
{{- $requests := $resources.requests | default dict -}}
{{- $limits := $resources.limits | default dict -}}
{{- $port := include "mcp.injectorPort" . -}}
{{- if eq $port (include "mcp.injectorMetricsPort" .) -}}
{{- fail (printf "injector.port and injector.metricsPort: are both %s; choose two ports" $port) -}}
{{- end -}}
- {name: WEBHOOK_LISTEN_ADDR, value: "[::]:{{ $port }}"}
- {name: PROBE_ADDR, value: "[::]:{{ include "mcp.injectorMetricsPort" . }}"}
- {name: WEBHOOK_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: WEBHOOK_SERVICE, value: {{ $name | quote }}}
- {name: WEBHOOK_CONFIGURATION, value: {{ include "mcp.configuration" . | quote }}}
- {name: WEBHOOK_NAMESPACE_RULES, value: {{ include "mcp.on" (list .Values.injector "namespaceRules") | default "false" | quote }}}
- {name: WEBHOOK_EVENTS, value: {{ include "mcp.on" (list .Values.injector "events") | default "false" | quote }}}
- {name: LOG_LEVEL, value: {{ .Values.injector.logLevel | quote }}}
- {name: LOG_FORMAT, value: {{ .Values.injector.logFormat | quote }}}
- {name: TLS_MODE, value: {{ $tls.mode | quote }}}
{{- if eq $tls.mode "selfManaged" }}
- {name: TLS_SECRET, value: {{ include "mcp.tlsSecret" . | quote }}}
- {name: TLS_LIFE, value: {{ $tls.life | quote }}}
{{- else }}
- {name: TLS_DIR, value: /tls}
- {name: TLS_WRITE_CA_BUNDLE, value: {{ include "mcp.writesBundle" . | empty | ternary "false" "true" | quote }}}
{{- end }}
- {name: SIDECAR_IMAGE, value: {{ $sidecar.image | default (include "mcp.proxyImage" (list . $sidecar.extraEnv)) | quote }}}
- {name: SIDECAR_IMAGE_PULL_POLICY, value: {{ .Values.image.pullPolicy | quote }}}
- {name: SIDECAR_IMAGE_PULL_SECRETS, value: {{ join "," .Values.image.pullSecrets | quote }}}
- {name: SIDECAR_MODE, value: {{ $sidecar.mode | quote }}}
- {name: SIDECAR_ENV, value: {{ $sidecar.env | quote }}}
- {name: SIDECAR_REDIS_SECRET, value: {{ $sidecar.redis.secret | default "" | quote }}}
- {name: SIDECAR_REDIS_ADDR, value: {{ $sidecar.redis.addr | quote }}}
- {name: SIDECAR_RABBITMQ_SECRET, value: {{ $sidecar.rabbitmq.secret | default "" | quote }}}
- {name: SIDECAR_RABBITMQ_ADDR, value: {{ $sidecar.rabbitmq.addr | quote }}}
- {name: SIDECAR_CACHE_TTL, value: {{ $sidecar.cacheTtl | quote }}}
- {name: SIDECAR_LOG_LEVEL, value: {{ $sidecar.logLevel | quote }}}
- {name: SIDECAR_CPU_REQUEST, value: {{ $requests.cpu | default "" | quote }}}
- {name: SIDECAR_CPU_LIMIT, value: {{ $limits.cpu | default "" | quote }}}
- {name: SIDECAR_MEMORY_REQUEST, value: {{ $requests.memory | default "" | quote }}}
- {name: SIDECAR_MEMORY_LIMIT, value: {{ $limits.memory | default "" | quote }}}
- {name: SIDECAR_RUN_AS_USER, value: {{ kindIs "invalid" $sidecar.runAsUser | ternary "" ($sidecar.runAsUser | int64 | toString) | quote }}}
- {name: SIDECAR_PROBE_HOST, value: {{ $sidecar.probeHost | quote }}}
- {name: SIDECAR_EXTRA_ENV, value: {{ include "mcp.sidecarEnv" . | quote }}}
{{- end -}}
