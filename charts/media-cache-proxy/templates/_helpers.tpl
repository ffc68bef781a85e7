{{/* Shortens a name to at most this many characters; a shortened name ends in a hash of the whole, so that names stay unique.
Takes (list name most). */}}
{{- define "mcp.short" -}}
{{- $name := index . 0 -}}
{{- $most := index . 1 | int -}}
{{- if gt (len $name) $most -}}
{{- printf "%s-%s" ($name | trunc (sub $most 9 | int) | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mcp.name" -}}
{{- include "mcp.short" (list (default .Chart.Name .Values.nameOverride) 63) -}}
{{- end -}}

{{- define "mcp.fullname" -}}
{{- $name := include "mcp.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- include "mcp.short" (list .Values.fullnameOverride 45) -}}
{{- else if contains $name .Release.Name -}}
{{- include "mcp.short" (list .Release.Name 45) -}}
{{- else -}}
{{- include "mcp.short" (list (printf "%s-%s" .Release.Name $name) 45) -}}
{{- end -}}
{{- end -}}

{{- define "mcp.injector" -}}{{ include "mcp.fullname" . }}-injector{{- end -}}
{{- define "mcp.standalone" -}}{{ include "mcp.fullname" . }}-standalone{{- end -}}
{{/* The webhook configuration is cluster-wide, so its name contains the namespace: two releases with the same name must not share it. */}}
{{- define "mcp.configuration" -}}
{{- include "mcp.short" (list (printf "%s-%s" .Release.Namespace (include "mcp.injector" .)) 63) -}}
{{- end -}}
{{- define "mcp.tlsSecret" -}}
{{- if eq .Values.injector.tls.mode "existingSecret" -}}
{{- required "injector.tls.existingSecret: is empty; name a Secret with tls.crt, tls.key and ca.crt" .Values.injector.tls.existingSecret -}}
{{- else -}}
{{/* Each mode has its own Secret: cert-manager leaves its Secret behind, and Helm does not adopt objects that it did
not create. */}}
{{- include "mcp.injector" . }}{{ eq .Values.injector.tls.mode "certManager" | ternary "-cert-manager" "" }}-tls
{{- end -}}
{{- end -}}

{{/* Whether the webhook itself keeps the caBundle of its configuration. */}}
{{- define "mcp.writesBundle" -}}
{{- $tls := .Values.injector.tls -}}
{{- if or (eq $tls.mode "selfManaged") (and (eq $tls.mode "existingSecret") (empty $tls.caBundle)) }}true{{ end -}}
{{- end -}}

{{/* Labels; takes (list . "component"). */}}
{{- define "mcp.labels" -}}
{{- $root := index . 0 -}}
{{- $ours := dict
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/part-of" "media-cache-proxy"
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
-}}
{{/* commonLabels cannot replace the labels by which pods are selected. */}}
{{- $selecting := include "mcp.selectorLabels" . | fromYaml -}}
{{- toYaml (merge dict $selecting ($root.Values.commonLabels | default dict) $ours) -}}
{{- end -}}

{{/* The labels above and those for monitoring, each key once; takes (list . "component" labels). */}}
{{- define "mcp.labelsWith" -}}
{{- toYaml (merge dict (include "mcp.labels" (list (index . 0) (index . 1)) | fromYaml) (index . 2)) -}}
{{- end -}}

{{/* A container's environment: entries of the last list replace rendered ones of the same name, in the same position.
Takes (list rendered extra): YAML text and a list. */}}
{{- define "mcp.env" -}}
{{- $extra := dict -}}
{{- range index . 1 }}{{- $_ := set $extra .name . }}{{- end -}}
{{- $env := list -}}
{{- range index . 0 | fromYamlArray -}}
{{- $env = append $env (get $extra .name | default .) -}}
{{- $_ := unset $extra .name -}}
{{- end -}}
{{- range index . 1 }}{{- if hasKey $extra .name }}{{- $env = append $env . }}{{- $_ := unset $extra .name }}{{- end }}{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* `helm upgrade --reuse-values` lacks values that are newer than the release, so a missing value means its default: on here, and the
default ports below.
Takes (list values key). */}}
{{- define "mcp.on" -}}
{{- $values := index . 0 -}}
{{- if ne (get $values (index . 1) | toString) "false" -}}true{{- end -}}
{{- end -}}
{{- define "mcp.injectorPort" -}}{{ .Values.injector.port | default 9443 }}{{- end -}}
{{- define "mcp.injectorMetricsPort" -}}{{ .Values.injector.metricsPort | default 9464 }}{{- end -}}

{{/* The port of an address in an environment. Takes (list environment name value): YAML text, the variable with the address, and the
value that sets it, for messages. */}}
{{- define "mcp.port" -}}
{{- $name := index . 1 -}}
{{- range index . 0 | fromYamlArray -}}
{{- if eq .name $name -}}
{{- $address := .value | default "" -}}
{{- $port := regexFind "[0-9]+$" $address -}}
{{- if not (and $port (regexMatch "^(\\[.+\\]|[^:]+):[0-9]+$" $address)) -}}
{{- fail (printf "%s: %s: %q has no port that a Service can have; write it as \"[::]:9000\"" (index $ 2) $name $address) -}}
{{- end -}}
{{- if regexMatch "^(localhost|127[.].*|\\[::1\\]):" $address -}}
{{- fail (printf "%s: %s: %q is reached by nobody else; write it as \"[::]:%s\"" (index $ 2) $name $address $port) -}}
{{- end -}}
{{- $port -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mcp.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "mcp.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "mcp.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The proxy's image. TRANSPORT=envoy, also from extraEnv, selects Envoy's image. A digest selects its image whatever the transport.
Takes (list . extraEnv). */}}
{{- define "mcp.proxyImage" -}}
{{- $root := index . 0 -}}
{{- $transport := $root.Values.proxy.transport -}}
{{- range index . 1 }}{{- if eq .name "TRANSPORT" }}{{- $transport = .value | default "" }}{{- end }}{{- end -}}
{{- include "mcp.image" $root -}}
{{- if and (eq $transport "envoy") (not $root.Values.image.digest) -}}-envoy{{- end -}}
{{- end -}}

{{/* The webhook's image, which contains everything that the sidecar's does. */}}
{{- define "mcp.webhookImage" -}}
{{- include "mcp.image" . -}}
{{- if not .Values.image.digest -}}-webhook{{- end -}}
{{- end -}}

{{/* Further environment variables of the sidecar, as JSON. */}}
{{- define "mcp.sidecarEnv" -}}
{{- $transport := list (dict "name" "TRANSPORT" "value" .Values.proxy.transport) -}}
{{- $rendered := eq .Values.proxy.transport "grpcio" | ternary list $transport | toYaml -}}
{{- include "mcp.env" (list $rendered .Values.sidecar.extraEnv) | fromYamlArray | toJson -}}
{{- end -}}

{{/* Pod security; takes the user or null. */}}
{{- define "mcp.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- if not (kindIs "invalid" .) }}
runAsUser: {{ int64 . }}
{{- end }}
{{- end -}}

{{- define "mcp.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Scheduling of pods; takes (list . values component). */}}
{{- define "mcp.scheduling" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- with $values.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "mcp.selectorLabels" (list $root (index $ 2)) | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* An address, from a Secret or as a plain value; takes (list variable values defaultKey). */}}
{{- define "mcp.address" -}}
- name: {{ index . 0 }}
{{- $values := index . 1 }}
{{- if $values.secret }}
  {{- $parts := splitn ":" 2 $values.secret }}
  valueFrom:
    secretKeyRef:
      name: {{ $parts._0 }}
      key: {{ $parts._1 | default (index . 2) }}
      optional: true
{{- else }}
  value: {{ $values.addr | quote }}
{{- end }}
{{- end -}}

{{/* The TLS settings of the standalone proxy; takes its tls values. The files are those of one Secret, and are renewed in place. */}}
{{- define "mcp.tlsEnv" -}}
{{- $folder := "/etc/media-cache-proxy/tls/" }}
{{- if .secret }}
{{- range .legs }}
{{- if eq . "clients" }}
- {name: LISTEN_TLS_CLIENT_CA, value: {{ $folder }}ca.crt}
{{- else }}
{{- $name := printf "%s_TLS" (upper .) }}
{{- if eq . "upstream" }}
- {name: UPSTREAM_TLS, value: "on"}
{{- end }}
- {name: {{ $name }}_CERT, value: {{ $folder }}tls.crt}
- {name: {{ $name }}_KEY, value: {{ $folder }}tls.key}
{{- if ne . "listen" }}
- {name: {{ $name }}_CA, value: {{ $folder }}ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The settings of the standalone proxy, as a list of EnvVar objects. */}}
{{- define "mcp.standaloneEnv" -}}
{{- $values := .Values.standalone -}}
- {name: LISTEN_ADDR, value: "[::]:50066"}
- {name: PROBE_ADDR, value: "[::]:9464"}
- {name: TRANSPORT, value: {{ .Values.proxy.transport | quote }}}
- {name: MEDIA_SERVICE_ADDR, value: {{ $values.mediaServiceAddr | quote }}}
- {name: UNSET_ADDRS, value: none}
{{ include "mcp.address" (list "REDIS_ADDR" $values.redis "redis-addr") }}
{{ include "mcp.address" (list "RABBITMQ_ADDR" $values.rabbitmq "rabbitmq-addr") }}
{{ include "mcp.tlsEnv" $values.tls | trim }}
{{- end -}}

{{/* Where the API server finds the webhook. */}}
{{- define "mcp.webhookClient" -}}
{{- $tls := .Values.injector.tls -}}
service:
  name: {{ include "mcp.injector" . }}
  namespace: {{ .Release.Namespace }}
  path: /mutate
  port: 443
{{- if and (eq $tls.mode "existingSecret") $tls.caBundle }}
caBundle: {{ $tls.caBundle | b64enc }}
{{- end }}
{{- end -}}

{{/* The values of a namespace's label that request the sidecar, as a list that is both JSON and CEL. */}}
{{- define "mcp.yes" -}}
{{ list "enabled" "Enabled" "ENABLED" "enable" "true" "True" "TRUE" "yes" "Yes" "YES" "on" "On" "ON" "1" | toJson }}
{{- end -}}

{{/* CEL: whether a key of a pod or namespace resembles one of the proxy's keys without being one. */}}
{{- define "mcp.likeOurs" -}}
key.matches('(?i)^media-cache-proxy[.]io/|^[^/]*media-cache.*inject')
{{- end -}}
{{- define "mcp.mistypedAnnotation" -}}
{{- $known := list "inject" "containers" "env" "upstream" "policy" "port" "probe-port" "admin-port" "mode" "redis-secret"
  "rabbitmq-secret" "redis-addr" "rabbitmq-addr" "cache-ttl" "log-level" "cpu-request" "cpu-limit" "memory-request"
  "memory-limit" "allow-jobs" "status" -}}
{{- $keys := list -}}
{{- range $known }}{{- $keys = append $keys (printf "'media-cache-proxy.io/%s'" .) }}{{- end -}}
{{ include "mcp.likeOurs" . }} && !(key in [{{ join ", " $keys }}])
{{- end -}}
{{- define "mcp.mistypedLabel" -}}
{{ include "mcp.likeOurs" . }} && !(key in ['media-cache-proxy.io/inject', 'media-cache-proxy.io/injected', 'media-cache-proxy.io/component'])
{{- end -}}
