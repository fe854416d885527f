// Asks the server at the address given as Hugging Face's JavaScript client does, and prints what it is answered.
import { InferenceClient } from "@huggingface/inference";

const [url, text] = process.argv.slice(2);
const client = new InferenceClient();
const [all, one, none] = await Promise.all(
  [{}, { top_k: 1 }, { function_to_apply: "none" }].map((parameters) =>
    client.textClassification({ endpointUrl: url, inputs: text, parameters }),
  ),
);
console.log(JSON.stringify({ all, one, none }));
