// The Node example of the external API, its `docker exec` replaced by a call of port 8001.
const express = require('express');
const app = express();

app.use(express.json());

const COMFYSUP = process.env.COMFYSUP_URL;

app.post('/api/comfyui/start-instances', async (req, res) => {
    const { instances } = req.body;

    if (!instances || !Array.isArray(instances)) {
        return res.status(400).json({ error: 'Invalid instances array' });
    }

    const answer = await fetch(`${COMFYSUP}/api/comfyui/start-instances`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ instances }),
        signal: AbortSignal.timeout(60000),
    });
    const stdout = await answer.text();
    if (!answer.ok) {
        return res.status(500).json({ error: answer.statusText, stderr: stdout });
    }

    res.json({
        status: 'success',
        message: 'Instances started',
        output: stdout,
        instances_count: instances.length
    });
});

const server = app.listen(0, '127.0.0.1', () => {
    console.log(server.address().port);
});
