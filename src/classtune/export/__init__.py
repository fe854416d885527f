"""A bundle elsewhere: as a graph for ONNX Runtime or OpenVINO, as a plain Hugging Face folder, on the Hub."""
