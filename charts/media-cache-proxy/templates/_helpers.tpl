{{- define "mcp.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mcp.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "mcp.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mcp.injector" -}}{{ include "mcp.fullname" . }}-injector{{- end -}}
{{- define "mcp.standalone" -}}{{ include "mcp.fullname" . }}-standalone{{- end -}}
{{/* Cluster-wide, so the namespace is in the name: two releases of one name must not share it. */}}
{{- define "mcp.configuration" -}}
{{- printf "%s-%s" .Release.Namespace (include "mcp.injector" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "mcp.tlsSecret" -}}
{{- if eq .Values.injector.tls.mode "existingSecret" -}}
{{- required "injector.tls.existingSecret: is empty; name a Secret with tls.crt, tls.key and ca.crt" .Values.injector.tls.existingSecret -}}
{{- else -}}
{{- include "mcp.injector" . }}-tls
{{- end -}}
{{- end -}}

{{/* Labels; takes (list . "component"). */}}
{{- define "mcp.labels" -}}
{{- $root := index . 0 -}}
{{ include "mcp.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: media-cache-proxy
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
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

{{/* The image of proxies: with TRANSPORT=envoy another one. A digest is of whatever image it is. */}}
{{- define "mcp.proxyImage" -}}
{{- include "mcp.image" . -}}
{{- if and (eq .Values.proxy.transport "envoy") (not .Values.image.digest) -}}-envoy{{- end -}}
{{- end -}}

{{/* The webhook's image, which has what the sidecar's has and more. */}}
{{- define "mcp.webhookImage" -}}
{{- include "mcp.image" . -}}
{{- if not .Values.image.digest -}}-webhook{{- end -}}
{{- end -}}

{{/* The sidecar's further environment as JSON. */}}
{{- define "mcp.sidecarEnv" -}}
{{- $transport := list (dict "name" "TRANSPORT" "value" .Values.proxy.transport) -}}
{{- eq .Values.proxy.transport "grpcio" | ternary .Values.sidecar.extraEnv (concat $transport .Values.sidecar.extraEnv) | toJson -}}
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

{{/* Where pods go; takes (list . values component). */}}
{{- define "mcp.scheduling" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- with $values.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels:
        {{- include "mcp.selectorLabels" (list $root (index $ 2)) | nindent 8 }}
  {{- end }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* An address by Secret or plain; takes (list variable values defaultKey). */}}
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

{{/* The TLS settings of the standalone proxy; takes its tls values. Files of one Secret, renewed in place. */}}
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
