import Counter from './counter';

export default function Page() {
    return <main><h1>Get started</h1><Counter /></main>;
}
