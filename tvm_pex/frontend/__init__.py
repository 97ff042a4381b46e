"""Where models come in: .tflite to Relay, and what Pex can run of Relay as a Graph. Knows Relay."""
