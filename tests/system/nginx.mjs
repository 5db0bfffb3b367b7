// Debian's nginx as a second proxy in front of AuraCode's, ending TLS, configured as its manual says for WebSockets.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { freePort, once, until } from './harness.mjs';

export async function startNginx(upstreamPort, { certificate, key }) {
    const dir = fs.mkdtempSync('/tmp/auracode-nginx.');
    const port = await freePort();
    const file = path.join(dir, 'nginx.conf');
    fs.writeFileSync(file, `
        daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
        events { worker_connections 256; }
        http {
            access_log off;
            ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`).join(' ')}
            map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
            server {
                listen 127.0.0.1:${port} ssl;
                ssl_certificate ${certificate}; ssl_certificate_key ${key};
                location / {
                    proxy_pass http://127.0.0.1:${upstreamPort};
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header X-Forwarded-Host $http_host;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                }
            }
        }`);
    const child = spawn('nginx', ['-p', dir, '-c', file], { stdio: 'inherit' });
    const exited = once(child, 'exit');
    await until('nginx listens', () => fs.existsSync(path.join(dir, 'pid')));
    return {
        port,
        close: async () => {
            child.kill('SIGTERM');
            await exited;
            fs.rmSync(dir, { recursive: true, force: true });
        },
    };
}
